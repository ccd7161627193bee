# Virtual hosts: what they share, what they do not, and how they and their processes can be disturbed.
export CLUSTER_BUILD=$1
source "$(dirname "$(readlink -f "$0")")/checks.bash"
cluster_up --ssh node1 node2 client1 || exit 1

for host in node1 node2 client1; do
  check "$host has its name" "$(cluster_run $host uname -n)" = $host
  for peer in node1 node2 client1; do
    cluster_run $host ping -q -c 1 -W 5 $peer >/dev/null || fail "$host does not reach $peer by its name"
  done
done
cluster_run node1 bash -c 'read -r line; echo "$line"; exit 7' <<<"through the pipe" >"$scratch/out"
check "the exit code is the command's" $? -eq 7
check "input and output are connected" "$(<"$scratch/out")" = "through the pipe"
check "hosts know no environment of the caller" -z "$(SECRET=1 cluster_run node1 printenv SECRET)"

check "ssh asks nothing" "$(cluster_run client1 ssh -o BatchMode=yes node1 hostname </dev/null 2>&1)" = node1

# Nothing but the network connects them.
for file in /dev/shm/x /tmp/x /run/x ./metadata; do
  cluster_run node1 touch "$file" || fail "node1 cannot write $file"
  cluster_run node2 test ! -e "$file" || fail "node2 sees node1's $file"
done
for folder in "$CLUSTER_BUILD" "$CLUSTER_SHARED" /etc /usr; do
  ! cluster_run node1 touch "$folder/x" 2>/dev/null || fail "node1 can write to $folder"
done
echo "for all" >"$CLUSTER_SHARED/note"
check "shared files are seen" "$(cluster_run node2 cat "$CLUSTER_SHARED/note")" = "for all"
cluster_start node1 bash -c 'exec -a only_on_node1 sleep 1000'
sleeper=$CLUSTER_PID
check "a host has its processes" "$(cluster_run node1 pgrep -cf '^only_on_node1')" = 1
check "and not another's" "$(cluster_run node2 pgrep -cf '^only_on_node1')" = 0
check "the process id is the machine's" "$(tr '\0' ' ' <"/proc/$sleeper/cmdline")" = "only_on_node1 1000 "
check "it is among those of its host" "$(cluster_pids node1 sleep)" = "$sleeper"
check "hosts are told apart" "$(cluster_run node1 cat /proc/sys/kernel/random/boot_id)" != \
  "$(cluster_run node2 cat /proc/sys/kernel/random/boot_id)"
check "nothing of the network is seen outside" -z "$(ip -o address show | grep -F 10.77.0. || true)"

# Processes.
cluster_start node1 bash -c 'exit 5'
cluster_wait "$CLUSTER_PID"
check "the exit code of a background process is kept" $? -eq 5
cluster_wait "$sleeper" 0.2
check "waiting for a process ends when the time is over" $? -eq 124
cluster_kill "$sleeper" || fail "a process cannot be killed"
cluster_wait "$sleeper"
check "a killed process says so" $? -eq 137

# Two that count: one is paused, the other shows that it had the time to go on.
count() { wc -c <"$1"; }
counts_on() { (($(count "$1") > $2)); }
for node in node1 node2; do
  cluster_start $node bash -c 'while :; do echo -n x; sleep 0.01; done'
  declare "counter_$node=$CLUSTER_LOG" "counting_$node=$CLUSTER_PID"
done
for paused in "$counting_node2" node2; do
  cluster_await 10 counts_on "$counter_node2" "$(count "$counter_node2")" || fail "the counter does not count"
  cluster_pause "$paused" || fail "cannot pause $paused"
  before=$(count "$counter_node2")
  cluster_await 10 counts_on "$counter_node1" $(($(count "$counter_node1") + 10)) || fail "the other counter is paused too"
  check "paused $paused does nothing" "$(count "$counter_node2")" -eq "$before"
  cluster_resume "$paused"
  cluster_await 10 counts_on "$counter_node2" "$before" || fail "$paused does not continue"
done
cluster_kill "$counting_node1" || fail "a process cannot be killed"
cluster_kill node2 || fail "the processes of a host cannot be killed"
check "no process is left" -z "$(cluster_pids node2 bash)$(cluster_pids node2 sleep)"
cluster_run node2 true || fail "a host without processes is up"

# Links. Round trips are compared with one another on the same machine, generously.
round_trip_us() {
  cluster_run "$1" ping -q -c 3 -i 0.05 -W 5 "$2" |
    sed -nE 's#.* = [0-9.]+/([0-9]+)\.([0-9]{3})/.*#\1\2#p'
}
reaches() { cluster_run "$1" ping -q -c 1 -W 0.3 "$2" >/dev/null; }
before=$((10#$(round_trip_us client1 node1)))
cluster_delay node1 50 || fail "no delay"
delayed=$((10#$(round_trip_us client1 node1)))
check "a delay makes round trips longer by twice as much ($before, $delayed us)" $delayed -ge $((before + 99000))
other=$((10#$(round_trip_us client1 node2)))
check "but no others ($other us)" "$other" -lt 99000
# Large segments pass whole.
sum=$(head -c 4000000 "$(command -v bash)" | md5sum)
check "a stream passes whole" "$(cluster_run client1 ssh node1 "head -c 4000000 $(command -v bash)" | md5sum)" = "$sum"
cluster_delay node1 0
after=$((10#$(round_trip_us client1 node1)))
check "without the delay they are short again ($after us)" $after -lt 99000

cluster_cut node1
! reaches client1 node1 || fail "packets pass a cut link"
cluster_await 10 reaches client1 node2 || fail "a cut link concerns another host"
cluster_join node1
cluster_await 10 reaches client1 node1 || fail "no packet passes a joined link"
cluster_cut_between client1 node1
! reaches client1 node1 || fail "packets pass between separated hosts"
{ cluster_await 10 reaches client1 node2 && cluster_await 10 reaches node1 node2; } || fail "separating two hosts separates others"
cluster_heal
cluster_await 10 reaches client1 node1 || fail "healing joins no separated hosts"
cluster_loss node1 100
! reaches client1 node1 || fail "packets pass though all get lost"
cluster_loss node1 30
received=$(cluster_run client1 ping -q -c 200 -i 0.002 -W 0.3 node1 | sed -nE 's/.* ([0-9]+) received.*/\1/p')
check "with 30 % lost each way about half of the answers come ($received of 200)" \
  "$received" -gt 50 -a "$received" -lt 150
cluster_heal
received=$(cluster_run client1 ping -q -c 50 -i 0.002 -W 5 node1 | sed -nE 's/.* ([0-9]+) received.*/\1/p')
check "after healing all come" "$received" -eq 50

# The end of a host.
cluster_start node2 sleep 1000
victim=$CLUSTER_PID
{ cluster_delay node2 50 && cluster_loss node2 100; } || fail "no bad link"
cluster_crash node2
check "no process survives a crash" ! -d "/proc/$victim"
check "the host is down" "$(cluster_hosts | tr '\n' ' ')" = "client1 node1 "
! cluster_run node2 true 2>/dev/null || fail "a command runs on a crashed host"
! reaches client1 node2 || fail "a crashed host answers"
cluster_up node2 || fail "a crashed host does not come up again"
cluster_await 10 reaches client1 node2 || fail "a host is not reached after a crash"
after=$((10#$(round_trip_us client1 node2)))
check "its link is a new one ($after us)" "$after" -lt 99000
check "its memory was lost" -z "$(cluster_run node2 find /dev/shm -mindepth 1)"
finish
