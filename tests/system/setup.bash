# What the system tests share: a place of their own for segments, run directories and ports, a clean
# end, and checks that say what they expected. Source it with the build folder as the argument; the
# test names its port base before that in `port_base`.
set -u
build=$1
bin=$build/bin
export IMSS_SHM_DIR XDG_RUNTIME_DIR
IMSS_SHM_DIR=$(mktemp -d /dev/shm/imss-test-XXXX)
work=$(mktemp -d /tmp/imss-test-XXXX)
XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
data_port=$port_base
metadata_port=$((port_base + 50))
export IMSS_METADATA_PORT=$metadata_port IMSS_DATA_PORT=$data_port IMSS_METADATA_FILE=$work/metadata
export IMSS_CONF=$work/imss.conf
: > "$IMSS_CONF"
cd "$work" || exit 1

# Ends the servers whose pid files are below the test's own folder, and only those.
end_test() {
  local file pid
  for file in $(find "$work" -name '*.pid' 2> /dev/null); do
    pid=$(cat "$file" 2> /dev/null)
    [ -n "$pid" ] && [ "$(readlink "/proc/$pid/exe" 2> /dev/null)" = "$(readlink -f "$bin/server")" ] &&
      kill -9 "$pid" 2> /dev/null
  done
  rm -rf "$IMSS_SHM_DIR" "$work"
}
trap end_test EXIT

failures=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
# expect CODE COMMAND...: runs it with its output in $work/out and $work/err.
expect() {
  local wanted=$1 code
  shift
  "$@" > "$work/out" 2> "$work/err" < /dev/null
  code=$?
  [ $code -eq "$wanted" ] ||
    fail "exit code $code instead of $wanted: $* ($(tail -n 3 "$work/err" "$work/out" | tr '\n' ' '))"
}
# says FILE PATTERN: the last command's `out` or `err` has a line like this.
says() { grep -Eq -- "$2" "$work/$1" || fail "no '$2' in $1: $(head -n 5 "$work/$1")"; }
# one_sentence PROGRAM: standard error is one line that begins with the program's name.
one_sentence() {
  [ "$(wc -l < "$work/err")" -eq 1 ] || fail "not one line: $(cat "$work/err")"
  grep -q "^$1: " "$work/err" || fail "does not begin with '$1: ': $(cat "$work/err")"
}
empty_dir() { [ -z "$(find "$1" -mindepth 1 2> /dev/null)" ] || fail "$1 is not empty: $(find "$1")"; }
same_file() { cmp "$1" "$2" || fail "$1 differs from $2"; }
# wait_for_end PID: until the process is gone; tail(1) watches it.
wait_for_end() { timeout 20 tail -s 0.02 --pid="$1" -f /dev/null || fail "process $1 does not end"; }
finish() {
  [ $failures -eq 0 ] || exit 1
  echo "all checks passed"
}
