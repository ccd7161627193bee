#!/usr/bin/env bash
# Installs what a group of tasks needs on Debian or Ubuntu, and only what is missing.
# Usage: scripts/packages.sh GROUP...   with the groups build, test, compatibility and bench.
set -euo pipefail

packages_of() {
  case $1 in
    build) echo build-essential cmake ninja-build pkg-config libglib2.0-dev libgoogle-perftools-dev libucx-dev libzmq3-dev libfuse3-dev fuse3 mpich libmpich-dev ;;
    test) echo catch2 openmpi-bin libopenmpi-dev procps util-linux iproute2 nftables iputils-ping dropbear-bin openssh-client git sqlite3 python3 ;;
    compatibility) echo rsync cmake ninja-build fio dbench bonnie++ stress-ng python3-h5py hdf5-tools lammps bc ;;
    bench) echo redis-server redis-tools memcached ucx-utils ;;
    *) return 1 ;;
  esac
}

if (($# == 0)); then
  echo "usage: $0 build|test|compatibility|bench..." >&2
  exit 2
fi
wanted=()
for group in "$@"; do
  if ! names=$(packages_of "$group"); then
    echo "$0: there is no group '$group': use build, test, compatibility or bench" >&2
    exit 2
  fi
  read -ra more <<<"$names"
  wanted+=("${more[@]}")
done

if ! command -v dpkg-query >/dev/null; then
  echo "$0: this system has no dpkg; install the equivalents of these packages: ${wanted[*]}" >&2
  exit 1
fi

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done
((${#missing[@]} > 0)) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "$0: these packages are missing, and neither root nor sudo is at hand: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing ${missing[*]} ..."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run_apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
if ! { run_apt update && run_apt install -y --no-install-recommends "${missing[@]}"; }; then
  cat "$log" >&2
  echo "$0: the packages could not be installed; see the messages above" >&2
  exit 1
fi
