# mount.imss and umount.imss over several hosts, by ssh, by both MPIs and by srun: everything starts, serves, says
# what is wrong in a sentence, and leaves nothing behind.
export CLUSTER_BUILD=$1
source "$(dirname "$(readlink -f "$0")")/checks.bash"
cluster_up --ssh node1 node2 node3 client1 || exit 1
bin=$CLUSTER_BUILD/bin
echo node1 >"$CLUSTER_SHARED/metadata-hosts"
printf 'node2\nnode3\n' >"$CLUSTER_SHARED/data-hosts"
printf 'node2\nnode9\n' >"$CLUSTER_SHARED/lost-hosts"
head -c 3M /dev/urandom >"$CLUSTER_SHARED/input"

# client COMMAND...: on client1 with the programs in the PATH; its output is in $scratch/out and $scratch/err.
client() {
  cluster_run client1 env IMSS_METADATA_HOSTFILE="$CLUSTER_SHARED/metadata-hosts" PATH="$bin:$PATH" "$@" \
    </dev/null >"$scratch/out" 2>"$scratch/err"
}
must() { client "$@" || fail "exit code $?: $* ($(tail -n 3 "$scratch/err" "$scratch/out"))"; }
must_fail() { ! client "$@" || fail "succeeds: $*"; }
says() { grep -Eq -- "$2" "$scratch/$1" || fail "no '$2' in: $(head -n 12 "$scratch/$1")"; }
mount() {
  client mount.imss -u imss://m --hostfile "$CLUSTER_SHARED/data-hosts" -S 64MiB --metadata-capacity 64MiB "$@"
}
must_mount() { mount "$@" || fail "mount.imss $*: exit code $? ($(tail -n 3 "$scratch/err"))"; }

# Servers, segments and run directories of all hosts, as a test that nothing is left.
left_on() { cluster_run "$1" bash -c 'ls -d /dev/shm/imss-* /tmp/imss-0 2>/dev/null; ps -C server -o pid=,args='; }
is_clean() { [[ -z $(left_on "$1") ]]; }
no_server_on() { [[ -z $(cluster_pids "$1" server) ]]; }
nothing_left() {
  local host
  for host in node1 node2 node3 client1; do
    cluster_await 10 is_clean "$host" # a server that no longer listens has yet to end
    check "nothing is left on $host" -z "$(left_on $host)"
  done
}

# --- by each launcher: mount, use, look, umount
round() {
  must_mount "$@"
  says out 'imss://m is ready: 2 data servers'
  must imss put "$CLUSTER_SHARED/input" imss://m/file
  cluster_run node3 "$bin/imss" get --host node1 imss://m/file - | cmp - "$CLUSTER_SHARED/input" ||
    fail "another host reads something else ($*)"
  must imss status
  says out 'Metadata server: node1 port 5569, serving, process [1-9][0-9]*, shared rw'
  says out 'imss://m +node2 +5555 +0 +serving'
  says out 'imss://m +node3 +5555 +1 +serving'
  must imss rm imss://m/file
  must umount.imss -u imss://m
  nothing_left
}
round
round --launcher ssh
if command -v mpirun.mpich >/dev/null; then round --launcher mpirun.mpich; fi
if command -v mpirun.openmpi >/dev/null; then round --launcher mpirun.openmpi; fi

# A stand-in for srun: it runs the command on the host it is told and kills what the step leaves behind, as Slurm does.
cat >"$CLUSTER_SHARED/srun" <<'END'
#!/bin/bash
while [[ $1 == --* ]]; do
  [[ $1 != --nodelist=* ]] || host=${1#--nodelist=}
  shift
done
step=$(cat /proc/sys/kernel/random/uuid)
exec ssh "$host" "SLURM_STEP=$step $(printf ' %q' "$@"); code=\$?
  for process in \$(grep -lz '^SLURM_STEP=$step' /proc/[0-9]*/environ 2>/dev/null); do
    process=\${process#/proc/} && kill -KILL \${process%/environ}
  done
  exit \$code"
END
chmod +x "$CLUSTER_SHARED/srun"
round --launcher "$CLUSTER_SHARED/srun"

# --- twice, and after a server has died
must_mount
mount && fail "an instance is mounted twice"
says err 'mounted already'
must imss put "$CLUSTER_SHARED/input" imss://m/file
cluster_kill "$(cluster_pids node3 server)"
must_fail imss status
says out 'node3 +5555 +1 +gone'
must_mount
says out 'data server 1 on node3 goes on with what it had stored'
must imss get imss://m/file /tmp/back
must imss rm imss://m/file
must imss stop node3:5555
says out 'on node3, port 5555: stopped'
cluster_await 10 no_server_on node3 || fail "the server does not end"
must imss stop --all
cluster_await 10 no_server_on node1 || fail "the metadata server does not end"
cluster_await 10 no_server_on node2 || fail "a data server does not end"
must umount.imss -u imss://m
nothing_left

# --- what can go wrong: a sentence, and nothing is left
mount --hostfile "$CLUSTER_SHARED/lost-hosts" && fail "a host that does not exist is mounted"
says err 'data server 1 on node9, port 5555, did not start: node9 cannot be reached by ssh: .*node9'
nothing_left
mount --program /nowhere/server && fail "mounts without the program"
says err 'metadata server on node1, port 5569, did not start: there is no program /nowhere/server on node1'
nothing_left
cluster_start node3 "$bin/server" metadata --port 5555 --file /tmp/other --address node3 --capacity 64MiB
other_listens() { cluster_run node3 bash -c '</dev/tcp/node3/5555' 2>/dev/null; }
cluster_await 20 other_listens || fail "the other server does not start"
mount && fail "a port that is taken is mounted"
says err 'data server 1 on node3, port 5555, did not start: .*5555'
cluster_kill "$CLUSTER_PID" USR1
cluster_wait "$CLUSTER_PID" 20
nothing_left
mount --launcher local && fail "starts servers of others by itself"
says err "host 'node1' is not this machine"

# --- two metadata servers
printf 'node1\nnode2\n' >"$CLUSTER_SHARED/two-metadata-hosts"
must_mount --meta-hostfile "$CLUSTER_SHARED/two-metadata-hosts" --metadata-file /tmp/two
says out 'imss://m is ready: 2 metadata servers, 2 data servers'
for name in a b c d e f g h; do
  must imss mkdir -p imss://m/$name/below
  must imss put "$CLUSTER_SHARED/input" imss://m/$name/below/file
done
# From every host, through either of the servers, the namespace is the same.
must imss ls -R imss://m
cp "$scratch/out" "$scratch/names"
for host in node1 node2 node3 client1; do
  for server in node1 node2; do
    cluster_run $host "$bin/imss" ls -R --host $server imss://m | cmp - "$scratch/names" ||
      fail "other names on $host by $server"
  done
done
must imss mv imss://m/a/below imss://m/b/moved
cluster_run node3 "$bin/imss" get --host node2 imss://m/b/moved/file - | cmp - "$CLUSTER_SHARED/input" ||
  fail "another host reads something else"
# The second one dies while a client makes directories, which waits for it; the others see that it is gone.
must imss ls -R imss://m
cp "$scratch/out" "$scratch/names"
for name in {1..20}; do
  cluster_run client1 "$bin/imss" mkdir --host node1 imss://m/while-$name || echo "$name" >>"$scratch/not-made"
done 2>"$scratch/while" &
maker=$!
cluster_run node2 bash -c 'kill -KILL "$(cat /tmp/imss-0/*/metadata-1.pid)"' || fail "there is no second metadata server"
must_fail imss status
mount --meta-hostfile "$CLUSTER_SHARED/two-metadata-hosts" --metadata-file /tmp/two || fail "does not start it again"
wait $maker
check "all were made while a server was started again" ! -e "$scratch/not-made"
for name in {1..20}; do must imss rmdir imss://m/while-$name; done
must imss ls -R imss://m
cmp "$scratch/out" "$scratch/names" || fail "other names after a restart"
must imss status
says out 'Metadata server 1: node2 port 5569, serving, process [1-9][0-9]*, shared rw'
must imss rm -r imss://m/b
must umount.imss -u imss://m
nothing_left

# --- keys
must imss keygen /tmp/keys
for host in node1 node2 node3; do
  cluster_run client1 cat /tmp/keys | cluster_run $host bash -c 'umask 077; cat >/tmp/keys'
done
must_mount --keys /tmp/keys
must env IMSS_KEY_FILE=/tmp/keys imss status
must_fail timeout 60 imss ls imss://m
must umount.imss -u imss://m
nothing_left

# --- a rank on another host than that of its line
if command -v mpirun.openmpi >/dev/null; then
  must_fail mpirun.openmpi -np 1 --host node3 "$bin/server" imss://m 5555 1 node1 5569 2 "$CLUSTER_SHARED/data-hosts" 1
  says err 'server 0 belongs on node2, by its line in .*data-hosts, but was started on node3'
fi

# --- a host that is lost with its server
must_mount
cluster_crash node3
must_fail imss status
says out 'node3 +5555 +1 +gone'
must_fail umount.imss -u imss://m --forget
says err 'data server 1 on node3 could not be ended: node3 cannot be reached by ssh'
must_fail umount.imss -u imss://m
says err 'is not mounted'
cluster_up --ssh node3 || exit 1
nothing_left
finish
