# Programs with libimss_posix.so loaded first: what they do below the mount point is what they do on tmpfs, and what they
# do elsewhere is untouched.
port_base=26300
here=$(dirname "$(readlink -f "$0")")
. "$here/setup.bash"
library=$build/lib/libimss_posix.so
export IMSS_MOUNT_POINT=$work/mount
mount=$IMSS_MOUNT_POINT
# pre COMMAND...: with the library.
pre() { LD_PRELOAD=$library "$@"; }
expect_pre() {
  local wanted=$1
  shift
  expect "$wanted" env LD_PRELOAD="$library" "$@"
}

# Without an instance: calls on the mount fail, one line says why, the program lives on, and others notice nothing.
expect_pre 1 cat "$mount/file"
says err 'cat: .*Transport endpoint is not connected'
[ "$(grep -c 'imss\[' err)" = 1 ] || fail "not one line: $(cat err)"
expect_pre 0 bash -c "cat $mount/file; cat $mount/file; echo > $mount/file; echo goes on"
says out '^goes on$'
[ "$(grep -c 'imss\[' err)" = 3 ] || fail "not one line for each program: $(cat err)"
IMSS_DEBUG_LEVEL=none expect_pre 1 cat "$mount/file"
[ "$(wc -l < err)" = 1 ] || fail "not silent: $(cat err)"
expect_pre 0 ls "$work"
[ ! -s err ] || fail "a program that does not use the mount says $(cat err)"

expect 0 "$bin/mount.imss" -u imss://files -n 2 -S 512MiB
# The one instance there is, without being named. Who does not touch it does not connect.
segments_of() { env LD_PRELOAD="$library" bash -c "$1"' ; grep -c -e imss-data- /proc/$$/maps ; true'; }
[ "$(segments_of 'cd /usr; [ -e /etc/passwd ]; [ -e /nothing ]')" = 0 ] || fail "connected without need"
[ "$(segments_of "[ -d $mount ]")" = 2 ] || fail "not connected"
expect_pre 0 ls -a "$mount"
[ "$(tr '\n' ' ' < out)" = ". .. " ] || fail "an empty instance shows $(cat out)"

# The same on tmpfs and in the store.
compare() {  # NAME COMMAND...: the command gets the folder as its last argument
  local name=$1
  shift
  mkdir "$IMSS_SHM_DIR/$name"
  expect_pre 0 mkdir "$mount/$name"
  "$@" "$IMSS_SHM_DIR/$name" 2>&1 < /dev/null | sed "s#$IMSS_SHM_DIR/$name#TOP#g" > "wanted.$name"
  env LD_PRELOAD="$library" "$@" "$mount/$name" 2>&1 < /dev/null | sed "s#$mount/$name#TOP#g" > "got.$name"
  diff "wanted.$name" "got.$name" || fail "$name: tmpfs (<) and the store (>) differ"
  [ "$(wc -l < "wanted.$name")" -ge "$least_lines" ] || fail "$name said only $(wc -l < "wanted.$name") lines"
  rm -rf "${IMSS_SHM_DIR:?}/$name"
}
least_lines=390
compare calls "$bin/file_calls"
least_lines=120
compare programs bash "$here/interception_programs.bash"

# What is not done fails, and is not silently something else.
expect_pre 0 bash -c "echo content > $mount/file"
cat > refusals.py <<'END'
import errno, mmap, os, sys
def refused(wanted, call):
    try: call()
    except OSError as error: assert error.errno == wanted, error
    else: raise AssertionError('not refused')
fd = os.open(sys.argv[1], os.O_RDWR)
refused(errno.ENODEV, lambda: mmap.mmap(fd, 4))
refused(errno.EOPNOTSUPP, lambda: os.open(os.path.dirname(sys.argv[1]), os.O_TMPFILE | os.O_RDWR))
refused(errno.EXDEV, lambda: os.link(sys.argv[1], '/tmp/link'))
refused(errno.EXDEV, lambda: os.rename(sys.argv[1], '/tmp/renamed'))
refused(errno.EXDEV, lambda: os.copy_file_range(fd, fd, 1))
END
expect_pre 0 python3 refusals.py "$mount/file"
# A program that the library is not in cannot write past it.
expect_pre 1 bash -c "env -u LD_PRELOAD /bin/echo lost >> $mount/file"
[ "$(pre cat "$mount/file")" = content ] || fail "the file is $(pre cat "$mount/file")"

# What lies beside the mount point, and ways in and out.
mkdir mount2 outside
echo beside > mount2/file
echo out > outside/file
[ "$(pre cat "$work/mount2/file")" = beside ] || fail "a path that only begins like the mount point"
[ "$(pre cat mount/file "$work//mount/./file" outside/../mount/file | uniq -c | xargs)" = "3 content" ] || fail "relative paths"
ln -s "$mount" in
ln -s "$mount/file" outside/infile
expect_pre 0 ln -s "$work/outside/file" "$mount/outfile"
expect_pre 0 ln -s ../outside "$mount/out"
[ "$(pre cat in/file outside/infile | uniq -c | xargs)" = "2 content" ] || fail "symbolic links into the mount"
[ "$(pre cat "$mount/outfile" "$mount/out/file" in/out/file "$mount/../outside/file" | uniq -c | xargs)" = "4 out" ] || fail "ways out"
expect_pre 0 bash -c "cd in/../mount && cat file && cd ../outside && cat file && cat ../mount/out/file && /bin/pwd"
[ "$(cat out)" = "$(printf 'content\nout\nout\n%s' "$work/outside")" ] || fail "cd: $(cat out)"
echo made | pre tee in/made > /dev/null
[ "$(pre cat "$mount/made")" = made ] || fail "made through a link"
expect_pre 0 cp "$mount/made" outside/
same_file outside/made <(echo made)

# A data server dies under a program and is started again: what was written is there, and the program goes on.
cat > survivor.bash <<'END'
exec 7<> "$1/kept"
echo before >&7
kill -9 "$2"
tail -s 0.02 --pid="$2" -f /dev/null
"$3/mount.imss" -u imss://files -n 2 -S 512MiB > /dev/null || exit 1
cat "$1/kept" && echo after >&7 && cat "$1/kept"
END
expect_pre 0 timeout 60 bash survivor.bash "$mount" "$(cat "$XDG_RUNTIME_DIR/imss/instance-files/data-0.pid")" "$bin"
[ "$(cat out)" = "$(printf 'before\nbefore\nafter')" ] || fail "over the death of a server: $(cat out)"

# Where the kernel has a folder at the mount point, links to it lead into the store all the same.
mkdir there
ln -s there tothere
(
  export IMSS_MOUNT_POINT=$work/there
  expect_pre 0 bash -c 'mkdir tothere/made.there && echo 1 > tothere/made.there/f && cd tothere && ls -d made.there'
  [ "$(cat out)" = made.there ] || fail "a mount point that exists: $(cat out)"
  exit $failures
) || failures=$((failures + 1))
empty_dir there

# Others see the same.
expect 0 "$bin/imss" get imss://files/file got
same_file got <(echo content)
expect_pre 0 find "$mount" -mindepth 1 -delete
expect_pre 0 ls -A "$mount"
[ ! -s out ] || fail "left: $(cat out)"
[ ! -e mount ] || fail "there is something at the mount point"

expect 0 "$bin/umount.imss" -u imss://files

# Locks are the node's that has the inode's server: elsewhere they are refused. The same calls where everything is asked for by messages, as of servers on other nodes. The network module has a number
# or two of its own there.
export IMSS_METADATA_PORT=$((metadata_port + 20)) IMSS_DATA_PORT=$((data_port + 20)) IMSS_URI=imss://asked
expect 0 "$bin/mount.imss" -u imss://asked -n 2 -S 256MiB --share none
mkdir "$IMSS_SHM_DIR/asked"
expect_pre 0 mkdir "$mount/asked"
areas=(opening numbers streams directories names mapping passing threads)
without_numbers() { grep -vE '^number |dup2\(' | sed "s#$1#TOP#g"; }
"$bin/file_calls" "$IMSS_SHM_DIR/asked" "${areas[@]}" 2>&1 < /dev/null | without_numbers "$IMSS_SHM_DIR/asked" > wanted.asked
timeout 60 env LD_PRELOAD="$library" "$bin/file_calls" "$mount/asked" "${areas[@]}" 2>&1 < /dev/null | without_numbers "$mount/asked" > got.asked
# What the network module has open is not for other programs.
expect_pre 0 bash -c "[ -d $mount/asked ] && exec env -u LD_PRELOAD ls -l /proc/self/fd"
grep -E 'socket:|eventpoll|ucx' out && fail "handed on to another program"
expect_pre 71 flock -n "$mount/asked/opening/f" true
diff wanted.asked got.asked || fail "by messages: tmpfs (<) and the store (>) differ"
rm -rf "$IMSS_SHM_DIR/asked"
expect 0 "$bin/umount.imss" -u imss://asked
empty_dir "$IMSS_SHM_DIR"
finish
