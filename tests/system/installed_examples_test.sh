# The examples as a user builds them: against an installed tree, with find_package(imss), and a C
# program with pkg-config.
port_base=21900
source_dir=$(readlink -f "$(dirname "$0")/../..")
. "$(dirname "$(readlink -f "$0")")/setup.bash"

prefix=$(mktemp -d "$work/prefix-XXXX")
expect 0 cmake --install "$build" --prefix "$prefix"
expect 0 cmake -S "$source_dir/examples" -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix"
expect 0 cmake --build "$work/examples" -j 2
expect 0 timeout 60 "$work/examples/attached_hello" $metadata_port $data_port
says out '^ok$'

pc_dir=$(dirname "$(find "$prefix" -name imss.pc)")
export PKG_CONFIG_PATH=$pc_dir
flags=$(pkg-config --cflags --libs imss) || fail "pkg-config does not know imss"
library_dir=$(pkg-config --variable=libdir imss)
# shellcheck disable=SC2086
expect 0 "${CC:-cc}" -std=c99 -Wall -Wextra "$source_dir/examples/life_cycle.c" -o life $flags -Wl,-rpath,"$library_dir"
expect 0 timeout 60 ./life attached $metadata_port $data_port
says out '^ok$'
# Detached it finds the installed `server` beside the library.
"$prefix/bin/server" metadata --file metadata --port $metadata_port --capacity 64MiB --pid-file metadata.pid \
  --daemonize > server.log 2>&1 || fail "the metadata server does not start: $(cat server.log)"
expect 0 timeout 60 ./life detached $metadata_port $data_port
says out '^ok$'
kill "$(cat metadata.pid)"
finish
