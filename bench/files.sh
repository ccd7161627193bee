#!/usr/bin/env bash
# Calls of programs on files: a tmpfs against the store, by interception and through a mount, in turns within one process.
# Usage: bench/files.sh [BUILD FOLDER]   (default: build/release; needs root)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(readlink -f "${1:-build/release}")
work=$(mktemp -d)
export IMSS_SHM_DIR XDG_RUNTIME_DIR=$work/run IMSS_METADATA_FILE=$work/metadata IMSS_DATA_PORT=26100 IMSS_METADATA_PORT=26150
IMSS_SHM_DIR=$(mktemp -d /dev/shm/imss-bench-XXXX)
mkdir -m 700 "$XDG_RUNTIME_DIR"
mkdir "$work/tmpfs" "$work/store"
end() {
  mountpoint -q "$work/store" && umount "$work/store"
  "$build/bin/umount.imss" -u imss://files > /dev/null 2>&1 || true
  umount "$work/tmpfs"
  rm -rf "$work" "$IMSS_SHM_DIR"
}
mount -t tmpfs tmpfs "$work/tmpfs"
trap end EXIT
"$build/bin/mount.imss" -u imss://files -n 1 -S 1GiB > /dev/null

echo "By interception:"
mkdir "$work/tmpfs/a" "$work/tmpfs/b"
env IMSS_MOUNT_POINT="$work/store" IMSS_URI=imss://files LD_PRELOAD="$build/lib/libimss_posix.so" \
  bash -c 'mkdir "$2/store/a" && exec "$1/bin/file_calls_bench" "$2/tmpfs/a" "$2/store/a"' - "$build" "$work"
echo
echo "What interception costs elsewhere (tmpfs on both sides, with the library; compare the first column with and without):"
"$build/bin/file_calls_bench" "$work/tmpfs/a" "$work/tmpfs/b" | grep -E 'pread 4|stat|open'
env IMSS_MOUNT_POINT="$work/store" IMSS_URI=imss://files LD_PRELOAD="$build/lib/libimss_posix.so" \
  "$build/bin/file_calls_bench" "$work/tmpfs/a" "$work/tmpfs/b" | grep -E 'pread 4|stat|open'
echo
echo "Through a mount:"
"$build/bin/imfssfs" -r imss://files -l "$work/store"
mkdir "$work/store/b" "$work/tmpfs/c"
"$build/bin/file_calls_bench" "$work/tmpfs/c" "$work/store/b"
