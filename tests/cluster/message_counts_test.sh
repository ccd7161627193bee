# What the operations of a client on another node cost in messages; a change of the protocol changes this table.
export CLUSTER_BUILD=$1
source "$(dirname "$(readlink -f "$0")")/checks.bash"
cluster_up node1 client1 || exit 1
bin=$CLUSTER_BUILD/bin
cluster_start node1 "$bin/server" metadata --file ./metadata --port 5569 --capacity 64MiB --address node1
cluster_start node1 "$bin/server" data --instance imss://x --port 5555 --capacity 64MiB --metadata-host node1 --host node1 \
  --address node1
is_there() { cluster_run client1 "$bin/imss" ls --host node1 imss://x >/dev/null 2>&1; }
cluster_await 30 is_there || fail "the servers do not start"

# Operation, messages sent, messages received, payloads that the client copies once more. Blocks of 64 KiB.
cat >"$scratch/expected" <<'END'
create 4 4 0
set 1 1 0
get 1 1 0
get_4KiB 1 1 1
set_list_16 16 16 0
get_list_16 16 16 0
release 2 2 0
stat 2 2 0
open 2 2 0
unlink 7 7 0
END
cluster_run client1 "$bin/cluster_remote_client" messages node1 imss://x >"$scratch/counted" || fail "the client fails"
sed -E 's/ +/ /g' "$scratch/counted" >"$scratch/found"
diff "$scratch/expected" "$scratch/found" >"$scratch/difference" ||
  fail "other messages than known (<), see (>): $(<"$scratch/difference")"
finish
