# One namespace over several metadata servers on one node: what users do with names, while each of the servers is
# killed and started again, and what is refused.
port_base=24200
. "$(dirname "$(readlink -f "$0")")/setup.bash"

head -c 300001 "$bin/imss" > input
imss=$bin/imss
pid_file() { echo "$XDG_RUNTIME_DIR/imss/instance-many/$1.pid"; }
name_of() { [ "$1" -eq 0 ] && echo metadata || echo "metadata-$1"; }
kill_server() {
  local pid
  pid=$(cat "$(pid_file "$1")")
  kill -9 "$pid" || fail "there is no process $pid of $1"
  wait_for_end "$pid"
}
# start_metadata INDEX COUNT: by hand, as mount.imss does.
start_metadata() {
  expect 0 "$bin/server" metadata --port $((metadata_port + $1)) --servers "$2" --rank "$1" --metadata-host localhost \
    --metadata-port $metadata_port --daemonize --pid-file "$(pid_file "$(name_of "$1")")"
}
# tree COUNT: a directory for each of so many names, with a file in each.
tree() {
  local i
  for ((i = 0; i < $1; ++i)); do
    expect 0 "$imss" mkdir -p "imss://many/tree/d$i/below"
    expect 0 "$imss" put input "imss://many/tree/d$i/below/file"
  done
}
# The names of all entries below the instance, directories with a slash.
all_names() { "$imss" ls -R imss://many 2> "$work/ls-err" | sed 's/^imss:..many//' | sort; }

# Names of one dataset in directories of all servers: each counts, also one that replaces another or is replaced.
links_of() { "$imss" stat --json "imss://many/$1" | grep -o '"links": *[0-9]*' | grep -o '[0-9]*$'; }
link_names() {
  local i
  expect 0 "$imss" mkdir -p imss://many/links
  expect 0 "$imss" put input imss://many/links/first
  for ((i = 0; i < 8; ++i)); do
    expect 0 "$imss" mkdir "imss://many/links/d$i"
    expect 0 "$imss" ln imss://many/links/first "imss://many/links/d$i/name"
  done
  [ "$(links_of links/first)" -eq 9 ] || fail "9 names count as $(links_of links/first)"
  # One name onto another of the same dataset does nothing, as rename(2) has it; onto another dataset it replaces that.
  expect 0 "$imss" mv imss://many/links/d0/name imss://many/links/d1/name
  [ "$(links_of links/d0/name)" -eq 9 ] || fail "a name of the same dataset was replaced"
  for ((i = 0; i < 8; ++i)); do expect 0 "$imss" put input "imss://many/links/d$i/other"; done
  for ((i = 0; i < 4; ++i)); do
    expect 0 "$imss" mv "imss://many/links/d$i/name" "imss://many/links/d$(((i + 1) % 4))/other"
    expect 0 "$imss" mv "imss://many/links/d$((i + 4))/other" "imss://many/links/d$(((i + 1) % 4 + 4))/name"
  done
  [ "$(links_of links/first)" -eq 5 ] || fail "5 names count as $(links_of links/first)"
  expect 0 "$imss" rm imss://many/links/first
  [ "$(links_of links/d2/other)" -eq 4 ] || fail "4 names count as $(links_of links/d2/other)"
  expect 0 "$imss" get imss://many/links/d2/other copy
  same_file input copy
}

for count in 2 3; do
  mount=("$bin/mount.imss" -u imss://many -n 2 -S 128MiB --metadata-servers $count --metadata-capacity 64MiB)
  expect 0 "${mount[@]}"
  says out "imss://many is ready: $count metadata servers, 2 data servers"
  expect 0 "$imss" status
  says out "^Metadata server $((count - 1)): .* port $((metadata_port + count - 1)), serving, process [1-9][0-9]*, shared rw, epoch [1-9]"
  says out '^Cluster map: epoch [1-9]'

  # The usual.
  tree 12
  expect 0 "$imss" ls -lR imss://many
  [ "$(grep -c ' below$' out)" -eq 12 ] || fail "not 12 directories: $(cat out)"
  [ "$(grep -c ' file$' out)" -eq 12 ] || fail "not 12 files: $(cat out)"
  for ((i = 0; i < 12; ++i)); do
    expect 0 "$imss" mv "imss://many/tree/d$i/below/file" "imss://many/tree/d$(((i + 5) % 12))/moved$i"
    expect 0 "$imss" mv "imss://many/tree/d$i/below" "imss://many/tree/d$(((i + 7) % 12))/gone$i"
  done
  expect 1 "$imss" mv imss://many/tree imss://many/tree/d3/inside
  expect 1 "$imss" rmdir imss://many/tree/d3
  expect 0 "$imss" get imss://many/tree/d5/moved0 copy
  same_file input copy
  expect 0 "$imss" rmdir imss://many/tree/d7/gone0
  expect 1 "$imss" rmdir imss://many/tree/d7/gone0
  expect 1 "$imss" mkdir imss://many/tree/d7
  link_names
  before=$(all_names)
  [ "$(wc -l <<< "$before")" -gt 40 ] || fail "names are missing: $before"

  # Each server is killed; the others see that, and it goes on with what it had.
  for ((server = 0; server < count; ++server)); do
    kill_server "$(name_of $server)"
    [ $server -eq 0 ] || expect 1 "$imss" status
    start_metadata $server $count
    [ "$(all_names)" = "$before" ] || fail "other names after the restart of metadata server $server of $count"
    expect 0 "$imss" mkdir -p "imss://many/after/restart/of/$server"
    expect 0 "$imss" put input "imss://many/after/restart/of/$server/file"
    expect 0 "$imss" rm -r imss://many/after
  done
  # All of them, and the data servers too.
  for ((server = 0; server < count; ++server)); do kill_server "$(name_of $server)"; done
  kill_server data-0
  expect 0 "${mount[@]}"
  says out "metadata server $((count - 1)) goes on with what it had stored"
  [ "$(all_names)" = "$before" ] || fail "other names after all servers were killed"
  expect 0 "$imss" check
  expect 0 "$imss" check imss://many
  [ "$(grep -c '^imss-metadata.*sound' out)" -eq $count ] || fail "not all are checked: $(cat out)"

  [ "$(links_of links/d2/other)" -eq 4 ] || fail "4 names count as $(links_of links/d2/other) after the restarts"
  expect 0 "$imss" rm -r imss://many/links/d2
  [ "$(links_of links/d3/other)" -eq 3 ] || fail "3 names count as $(links_of links/d3/other)"
  before=$(all_names)

  # Another number of servers does not go on with these.
  expect 0 "$bin/umount.imss" -u imss://many --keep-data
  expect 1 "$bin/mount.imss" -u imss://many -n 2 -S 128MiB --metadata-servers 4 --metadata-capacity 64MiB
  says err "belongs to metadata server [0-9] of $count, and this is server [0-9] of 4"
  expect 0 "${mount[@]}"
  [ "$(all_names)" = "$before" ] || fail "other names after an unmount that kept the data"
  expect 0 "$bin/umount.imss" -u imss://many
  empty_dir "$IMSS_SHM_DIR"
  expect 1 "$bin/mount.imss" -u imss://many -n 2 -S 128MiB
  says err 'metadata belongs to metadata server 0 of'

  # The metadata files have the names of all servers for a deployment of as many.
  expect 0 "${mount[@]}"
  [ "$(all_names)" = "$before" ] || fail "other names from the metadata files"
  [ "$(links_of links/d3/other)" -eq 3 ] || fail "3 names count as $(links_of links/d3/other) from the metadata files"
  expect 1 "$imss" get imss://many/links/d3/other copy
  expect 0 "$imss" rm -rf imss://many/tree imss://many/links
  expect 0 "$imss" ls imss://many
  [ ! -s out ] || fail "something is left: $(cat out)"
  expect 0 "$imss" stop --all
  says out "metadata server $((count - 1)) on .*: stopped"
  expect 0 "$bin/umount.imss" -u imss://many
  empty_dir "$IMSS_SHM_DIR"
  empty_dir "$XDG_RUNTIME_DIR"
  rm -f metadata metadata.*
done
finish
