# The same random operations of three processes on the kernel's tmpfs and through each door: every result, errno, content
# and attribute is the same.
port_base=25000
. "$(dirname "$(readlink -f "$0")")/setup.bash"
mkdir mount reference
end_mounts() {
  local dir
  for dir in mount reference; do mountpoint -q "$work/$dir" && umount -l "$work/$dir"; done
  end_test
}
trap end_mounts EXIT
mount -t tmpfs tmpfs reference 2> /dev/null || mkdir -p reference
options=(2500 3)
"$bin/sequence" --has-xattrs reference && options+=(xattrs)
expect 0 "$bin/mount.imss" -u imss://same -n 2 -S 512MiB
# compare DOOR SEED WORD...: runs the sequence below `mount` by a command that begins with these words.
compare() {
  local door=$1 seed=$2
  shift 2
  "$@" mkdir "mount/$seed" && mkdir "reference/$seed"
  timeout 60 "$bin/sequence" "$work/reference/$seed" "$seed" "${options[@]}" > expected || fail "seed $seed ends with $? on tmpfs"
  timeout 60 "$@" "$bin/sequence" "$work/mount/$seed" "$seed" "${options[@]}" > found || fail "seed $seed ends with $? through $door"
  [ "$(wc -l < expected)" -gt 2000 ] || fail "seed $seed does too little"
  cmp -s expected found || fail "seed $seed differs through $door: $(diff expected found | head -n 4)"
  "$@" rm -rf "mount/$seed"
  rm -rf "reference/$seed"
}
if [ -c /dev/fuse ]; then
  expect 0 "$bin/imfssfs" -r imss://same -l mount
  for seed in $(seq 1 20); do compare fuse "$seed" env; done
  expect 0 umount mount
fi
for seed in $(seq 1 12); do
  compare interception "$seed" env "IMSS_MOUNT_POINT=$work/mount" IMSS_URI=imss://same "LD_PRELOAD=$build/lib/libimss_posix.so"
done
expect 0 "$bin/umount.imss" -u imss://same
finish
