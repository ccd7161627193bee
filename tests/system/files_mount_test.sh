# Real programs on a mounted instance: what they store comes back, through two mounts, and over the death of a server.
port_base=24700
. "$(dirname "$(readlink -f "$0")")/setup.bash"
if [ ! -c /dev/fuse ]; then
  echo "SKIPPED: there is no /dev/fuse"
  exit 77
fi
a=$work/a
b=$work/b
c=$work/c
end_mounts() {
  local dir
  for dir in "$a" "$b" "$c"; do mountpoint -q "$dir" && umount -l "$dir"; done
  end_test
}
trap end_mounts EXIT
mkdir "$a" "$b" "$c"

# Errors are one sentence each.
expect 1 "$bin/imfssfs" -r imss://files -l "$work/none"
one_sentence imfssfs
expect 1 "$bin/imfssfs" -r imss://files -l "$a"
one_sentence imfssfs
expect 2 "$bin/imfssfs" -r imss://files
expect 0 "$bin/mount.imss" -u imss://files -n 2 -S 256MiB
expect 1 "$bin/imfssfs" -r imss://other -l "$a"
one_sentence imfssfs
expect 0 "$bin/imfssfs" -r imss://files -l "$a"
expect 0 "$bin/imfssfs" imss://files "$b"

# A source tree, there and back.
source_tree=$(dirname "$(readlink -f "$0")")/../../src
expect 0 cp -r "$source_tree" "$a/tree"
expect 0 diff -r "$source_tree" "$b/tree"
expect 0 cp -r "$b/tree" back
expect 0 diff -r "$source_tree" back
expect 0 tar -C "$source_tree" -cf "$a/tree.tar" .
mkdir unpacked
expect 0 tar -C unpacked -xf "$b/tree.tar"
expect 0 diff -r "$source_tree" unpacked
[ "$(find "$a/tree" -type f | wc -l)" -eq "$(find "$source_tree" -type f | wc -l)" ] || fail "find counts differently"

# With modes, owners and times, of directories as of files.
expect 0 cp -r "$source_tree/base" attributed
mkdir -p attributed/deep/er
chmod 640 attributed/*.h
chmod 1777 attributed/deep
chmod 2750 attributed/deep/er
ln -s ../size.h attributed/deep/link
if [ "$(id -u)" = 0 ]; then chown -R 1234:4321 attributed/deep; fi
touch -h -d '2002-03-04 05:06:07.123456789 UTC' attributed/deep/link
touch -d '2003-04-05 06:07:08.987654321 UTC' attributed/deep/er attributed/size.cc
touch -d '2004-05-06 07:08:09.5 UTC' attributed/deep attributed
chmod 2750 attributed/deep/er
all_of() { (cd "$1" && find . -printf '%p %m %u %g %T@\n' | sort) > "$2"; }
all_of attributed wanted
same_attributes() {
  expect 0 diff -r attributed "$1"
  all_of "$1" got
  same_file wanted got
}
expect 0 cp -a attributed "$a/attributed"
[ ! -s err ] || fail "cp -a complains: $(cat err)"
same_attributes "$b/attributed"
expect 0 tar -C "$b/attributed" --format=posix -cf attributed.tar .
mkdir "$a/extracted"
expect 0 tar -C "$a/extracted" --same-owner -xpf attributed.tar
[ ! -s err ] || fail "tar -p complains: $(cat err)"
same_attributes "$b/extracted"
expect 0 cp -a "$a/extracted" copied
same_attributes copied
if [ "$(id -u)" = 0 ]; then
  # Other users come in, and what they make is theirs.
  expect 0 "$bin/imfssfs" -o allow_other -r imss://files -l "$c"
  chmod 711 "$work"
  expect 0 chmod 777 "$c"
  expect 0 setpriv --reuid 1234 --regid 4321 --clear-groups mkdir "$c/owned"
  [ "$(stat -c %u:%g "$b/owned")" = 1234:4321 ] || fail "a new directory belongs to $(stat -c %u:%g "$b/owned")"
  expect 0 chown 1234:77 "$b/owned"
  expect 0 chmod 2775 "$b/owned"
  expect 0 mkdir "$a/owned/below"
  expect 0 touch "$a/owned/file"
  [ "$(stat -c %g:%a "$b/owned/below")" = 77:2755 ] || fail "setgid: $(stat -c %g:%a "$b/owned/below")"
  [ "$(stat -c %g "$b/owned/file")" = 77 ] || fail "setgid: $(stat -c %g "$b/owned/file")"
  expect 1 setpriv --reuid 4321 --regid 1234 --clear-groups mkdir "$c/owned/not"
  expect 0 umount "$c"
fi

# Fifos, sockets and devices: the kernel connects those who open them, and copies keep them.
expect 0 mkdir "$a/special"
expect 0 mkfifo -m 640 "$a/special/fifo"
cat "$a/special/fifo" > got &
reader=$!
echo through > "$a/special/fifo"
wait "$reader"
[ "$(cat got)" = through ] || fail "a fifo gives $(cat got)"
expect 0 python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$a/special/socket"
[ "$(stat -c %F "$b/special/socket")" = socket ] || fail "a socket is a $(stat -c %F "$b/special/socket")"
if [ "$(id -u)" = 0 ]; then
  expect 0 mknod "$a/special/character" c 300 70000
  expect 0 mknod "$a/special/block" b 7 8
fi
nodes_of() { (cd "$1" && find . ! -type d -printf '%p %y %m %u %g %T@ %s ' -exec stat -c %t:%T {} \; | sort) > "$2"; }
nodes_of "$b/special" wanted
[ "$(grep -c 'p 640' wanted)" = 1 ] || fail "the fifo is $(cat wanted)"
if [ "$(id -u)" = 0 ]; then grep -q '^./character c .* 12c:11170$' wanted || fail "the device is $(cat wanted)"; fi
expect 0 cp -a "$a/special" special
nodes_of special got
same_file wanted got
expect 0 "$bin/imss" ls -l imss://files/special
says out '^prw-r-----'
expect 0 rm -r "$a/special"

# Large files, holes and sizes.
head -c 5000001 /dev/urandom > input
expect 0 dd if=input of="$a/data" bs=70000 status=none
same_file input "$b/data"
expect 0 truncate -s 1000001 "$a/data"
expect 0 truncate -s 3000000 "$b/data"
head -c 1000001 input > wanted
truncate -s 3000000 wanted
same_file wanted "$a/data"
echo short > "$a/data"
[ "$(cat "$b/data")" = short ] || fail "a file that was begun anew shows $(head -c 50 "$b/data")"

# Names.
expect 0 ln "$a/data" "$a/second"
[ "$(stat -c %h "$b/data")" = 2 ] || fail "not two names"
expect 0 ln -s data "$a/symbolic"
[ "$(cat "$b/symbolic")" = short ] || fail "the symbolic link leads elsewhere"
expect 0 mv "$a/second" "$a/tree/third"
[ "$(cat "$b/tree/third")" = short ] || fail "moved"
expect 1 mkdir "$a/tree"
expect 1 rmdir "$a/tree"
long=$(printf 'x%.0s' $(seq 255))
expect 0 touch -d '2001-02-03 04:05:06.789 UTC' "$a/$long"
[ "$(stat -c %Y "$b/$long")" = 981173106 ] || fail "the time is $(stat -c %y "$b/$long")"
expect 1 touch "$a/y$long"
expect 0 chmod 640 "$a/$long"
[ "$(stat -c %a "$b/$long")" = 640 ] || fail "mode"

# An unlinked file stays as long as it is open.
exec 7< "$a/data"
rm "$a/data" "$a/tree/third" "$a/symbolic"
[ "$(cat <&7)" = short ] || fail "an unlinked open file cannot be read"
exec 7<&-

# Many append to one file through both mounts: every line is there, whole.
appenders=()
for writer in 1 2 3 4; do
  if [ $((writer % 2)) = 0 ]; then log=$a/log; else log=$b/log; fi
  (for i in $(seq 200); do echo "writer $writer line $i" >> "$log"; done) &
  appenders+=($!)
done
wait "${appenders[@]}"
for writer in 1 2 3 4; do for i in $(seq 200); do echo "writer $writer line $i"; done; done | sort > wanted
sort "$a/log" > got
same_file wanted got

export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_GLOBAL=/dev/null
expect 0 git init -q "$a/repository"
cp -r "$source_tree/base" "$a/repository/"
expect 0 git -C "$a/repository" add .
expect 0 git -C "$a/repository" commit -q -m first
expect 0 git clone -q "$a/repository" "$a/clone"
expect 0 git -C "$a/clone" fsck
expect 0 diff -r "$source_tree/base" "$b/clone/base"
expect 0 sqlite3 "$a/base.db" 'create table t(x); insert into t values (1),(2); update t set x = x + 1;'
[ "$(sqlite3 "$b/base.db" 'select sum(x) from t')" = 5 ] || fail "sqlite3 lost something"

# A data server dies and is started again under the mounts.
expect 0 cp input "$a/kept"
pid=$(cat "$XDG_RUNTIME_DIR/imss/instance-files/data-0.pid")
kill -9 "$pid"
wait_for_end "$pid"
expect 0 "$bin/mount.imss" -u imss://files -n 2 -S 256MiB
same_file input "$a/kept"
expect 0 cp input "$b/more"
same_file input "$a/more"

expect 0 rm -r "$a/tree" "$b/repository" "$b/clone"
[ ! -e "$b/tree" ] || fail "a removed tree is still there"
expect 0 df "$a"
expect 0 umount "$a"
expect 0 umount "$b"
expect 0 "$bin/umount.imss" -u imss://files

# With the servers inside; a signal unmounts and ends them.
"$bin/imfssfs" -f -d 0 -r imss:// -S 268435456 -b 100000 -p $data_port -m $metadata_port -M ./metadata -l "$a" &
mount=$!
timeout 20 bash -c "until mountpoint -q '$a'; do :; done" || fail "it does not mount"
expect 0 cp input "$a/data"
same_file input "$a/data"
[ "$(stat -c %o "$a/data")" = 131072 ] || fail "block size $(stat -c %o "$a/data")"
kill -TERM $mount
wait $mount || fail "it ends with $?"
mountpoint -q "$a" && fail "still mounted"
empty_dir "$IMSS_SHM_DIR"
finish
