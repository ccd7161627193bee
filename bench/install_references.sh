#!/usr/bin/env bash
# Installs the key-value servers that `imss bench --references` compares with (Debian, Ubuntu). Neither is needed
# to build or use IMSS. Needs root or sudo; the servers are not left running.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v memcached >/dev/null || missing+=(memcached)
if ((${#missing[@]} == 0)); then
  echo "redis-server and memcached are installed"
  exit 0
fi
as_root=()
((EUID == 0)) || as_root=(sudo)
"${as_root[@]}" apt-get update -q
"${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"
for service in "${missing[@]}"; do
  "${as_root[@]}" systemctl disable --now "${service%-server}" "$service" 2>/dev/null || true
done
