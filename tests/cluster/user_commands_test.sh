# tests/cluster/up, run and down, as the README of this folder shows them.
export CLUSTER_BUILD=$1
here=$(dirname "$(readlink -f "$0")")
source "$here/checks.bash"
__cluster_require || exit
if [[ -d /run/imss-cluster/ ]]; then
  echo "skipped, a cluster is standing on this machine"
  exit 77
fi
trap 'rm -rf "$scratch"; [[ ! -d /run/imss-cluster/ ]] || "$here/down"' EXIT

for command in up run down; do
  "$here/$command" --help >"$scratch/help" || fail "$command --help fails"
  grep -q "^Usage: tests/cluster/$command" "$scratch/help" || fail "$command --help does not help: $(<"$scratch/help")"
done
! "$here/run" node1 true 2>"$scratch/err" || fail "a command runs without a cluster"
grep -q 'tests/cluster/up' "$scratch/err" || fail "run does not say what is missing: $(<"$scratch/err")"
! "$here/up" --nonsense 2>/dev/null || fail "up takes any option"
! "$here/up" --background moon 2>"$scratch/err" || fail "up makes a host of any name"
grep -q "no host 'moon'" "$scratch/err" || fail "up does not say what is wrong: $(<"$scratch/err")"

"$here/up" --background node1 node2 >"$scratch/out" || fail "up fails"
! "$here/up" --background 2>/dev/null || fail "two clusters stand at once"
check "run reaches a host" "$("$here/run" node2 uname -n)" = node2
"$here/run" node1 ping -q -c 1 -W 5 node2 >/dev/null || fail "the hosts do not reach one another"
"$here/run" node1 bash -c 'exit 9'
check "run passes the exit code on" $? -eq 9
folder=$(readlink /run/imss-cluster)
"$here/down" || fail "down fails"
check "nothing is left" ! -e "$folder" -a ! -L /run/imss-cluster
gone() { ! pgrep -f "$folder" >/dev/null; }
cluster_await 10 gone || fail "processes are left: $(pgrep -af "$folder")"

# In the foreground: a shell with the commands, which ends the hosts with it.
"$here/up" node1 >"$scratch/out" 2>"$scratch/err" <<'END'
cluster_run node1 uname -n >$CLUSTER_DIR/logs/answer; echo "answer: $(cat $CLUSTER_DIR/logs/answer)"
END
grep -q '^answer: node1$' "$scratch/out" || fail "the shell has no commands: $(cat "$scratch/out" "$scratch/err")"
check "the hosts end with the shell" ! -L /run/imss-cluster
finish
