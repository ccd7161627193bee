# What a mount can do beyond names and bytes: extended attributes, holes, space, exchanged names. With the data servers'
# segments mapped by the mount, and with everything asked of them by message.
port_base=24900
checks=$(dirname "$(readlink -f "$0")")/../support/files_special.py
. "$(dirname "$(readlink -f "$0")")/setup.bash"
if [ ! -c /dev/fuse ]; then
  echo "SKIPPED: there is no /dev/fuse"
  exit 77
fi
a=$work/a
b=$work/b
end_mounts() {
  local dir
  for dir in "$a" "$b"; do mountpoint -q "$dir" && umount -l "$dir"; done
  end_test
}
trap end_mounts EXIT
mkdir "$a" "$b"

for share in rw none; do
  mount=("$bin/mount.imss" -u imss://special -n 2 -S 128MiB --share "$share")
  expect 0 "${mount[@]}"
  expect 0 "$bin/imfssfs" -r imss://special -l "$a"
  expect 0 "$bin/imfssfs" imss://special "$b"
  expect 0 python3 "$checks" all "$a" "$b"
  # What was acknowledged is there after the death of the servers.
  expect 0 python3 "$checks" keep "$a"
  for server in data-0 data-1; do
    pid=$(cat "$XDG_RUNTIME_DIR/imss/instance-special/$server.pid")
    kill -9 "$pid"
    wait_for_end "$pid"
  done
  expect 0 "${mount[@]}"
  # A client notices by and by that servers which it asks by message are back.
  timeout 20 bash -c "until cat '$b/kept/file'; do :; done" 2> /dev/null || fail "a file is not back"
  expect 0 python3 "$checks" kept "$b"
  expect 0 umount "$a"
  expect 0 umount "$b"
  expect 0 "$bin/umount.imss" -u imss://special
  rm -f "$work"/metadata*
done
empty_dir "$IMSS_SHM_DIR"
finish
