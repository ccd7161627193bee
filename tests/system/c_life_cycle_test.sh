# A C program goes through the whole life of an instance, attached and detached, and leaves nothing.
port_base=21700
. "$(dirname "$(readlink -f "$0")")/setup.bash"

expect 0 timeout 60 "$build/examples/life_cycle" attached $metadata_port $data_port
says out '^ok$'
empty_dir "$IMSS_SHM_DIR"

"$bin/server" metadata --file metadata --port $metadata_port --capacity 64MiB --pid-file metadata.pid \
  --daemonize > server.log 2>&1 || fail "the metadata server does not start: $(cat server.log)"
for program in "" "$bin/server"; do
  expect 0 timeout 60 "$build/examples/life_cycle" detached $metadata_port $data_port $program
  says out '^ok$'
  [ "$(ls "$IMSS_SHM_DIR")" = imss-metadata-$metadata_port-0 ] || fail "left: $(ls "$IMSS_SHM_DIR")"
done

# A program that is not there, a port that is taken.
expect 1 timeout 60 "$build/examples/life_cycle" detached $metadata_port $data_port /nonexistent/server
says err 'not a program'
"$bin/server" data --instance imss://other --port $data_port --metadata-port $metadata_port --capacity 64MiB \
  --pid-file other.pid --daemonize > server.log 2>&1 || fail "the data server does not start: $(cat server.log)"
expect 1 timeout 60 "$build/examples/life_cycle" detached $metadata_port $data_port
says err 'is served by process'
kill -USR1 "$(cat other.pid)"
kill "$(cat metadata.pid)"
finish
