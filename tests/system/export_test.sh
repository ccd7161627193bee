# `imss check --export` gets datasets out of segments whose servers are dead, and changes nothing in them.
port_base=24500
. "$(dirname "$(readlink -f "$0")")/setup.bash"

head -c 3000001 "$bin/imss" > input
head -c 100 input > small
pid_file() { echo "$XDG_RUNTIME_DIR/imss/instance-kept/$1.pid"; }
expect 0 "$bin/mount.imss" -u imss://kept -n 2 -S 128MiB
for policy in RR HASH LOCAL; do expect 0 "$bin/imss" put --policy $policy -b 256KiB input "imss://kept/dir/$policy"; done
for number in 1 2 3 4 5 6; do expect 0 "$bin/imss" put --replicas 2 -b 256KiB input imss://kept/copies$number; done
expect 0 "$bin/imss" put --servers 1 small imss://kept/small
: > nothing
expect 0 "$bin/imss" put nothing imss://kept/nothing
"$bin/imss" put -b 256KiB - imss://kept/grown < input || fail "put from standard input"
expect 0 "$bin/imss" mkdir imss://kept/empty
truncate -s 1000000 zeros
expect 0 "$bin/imss" put zeros imss://kept/zeros

everything_is_there() {
  local name
  for name in dir/RR dir/HASH dir/LOCAL copies1 copies6 grown; do same_file input "$1/kept/$name"; done
  same_file small "$1/kept/small"
  same_file zeros "$1/kept/zeros"
  same_file nothing "$1/kept/nothing"
  [ -d "$1/kept/empty" ] || fail "no empty directory in $1"
}
# While the servers run.
expect 0 "$bin/imss" check --export live imss://kept
everything_is_there live

for name in metadata data-0 data-1; do
  pid=$(cat "$(pid_file $name)")
  kill -9 "$pid"
  wait_for_end "$pid"
done
fingerprints() { (cd "$IMSS_SHM_DIR" && stat -c '%n %b' imss-* && sha256sum <(head -c 60000000 imss-metadata-*) | cut -d' ' -f1); }
before=$(fingerprints)
expect 0 "$bin/imss" check --export dead imss://kept
says out '^13 datasets'
everything_is_there dead
expect 0 "$bin/imss" check --export all
everything_is_there all
expect 0 "$bin/imss" check --export one "$IMSS_SHM_DIR/imss-metadata-$metadata_port-0"
everything_is_there one
[ "$(stat -c %a dead/kept/small)" = "$(stat -c %a small)" ] || fail "another mode"
[ "$(fingerprints)" = "$before" ] || fail "the export changed the segments: $(fingerprints) instead of $before"

# Files that exist stay as they are.
echo mine > dead/kept/small
expect 1 "$bin/imss" check --export dead imss://kept
says out 'not written: imss://kept/small: .*exists'
[ "$(cat dead/kept/small)" = mine ] || fail "a file that existed was replaced"

# Feature bits of a later version: refused by all but the export.
for segment in "$IMSS_SHM_DIR"/imss-*; do
  printf '\001' | dd of="$segment" bs=1 seek=39 conv=notrunc status=none
done
expect 1 "$bin/imss" check
says out 'features'
expect 0 "$bin/imss" check --export later imss://kept
says out 'note: imss-metadata.* features'
everything_is_there later

# Fenced and retired segments, whose clients are turned away, are read too.
state() { printf "\\00$1" | dd of="$2" bs=1 seek=192 conv=notrunc status=none; }
for segment in "$IMSS_SHM_DIR"/imss-data-*-0 "$IMSS_SHM_DIR"/imss-metadata-*; do state 2 "$segment"; done
for segment in "$IMSS_SHM_DIR"/imss-data-*-1; do state 3 "$segment"; done
before=$(fingerprints)
expect 0 "$bin/imss" check --export fenced imss://kept
says out 'note: imss-metadata.* was fenced'
says out 'note: imss-data-.*-0 was fenced'
says out 'note: imss-data-.*-1 was retired'
everything_is_there fenced
[ "$(fingerprints)" = "$before" ] || fail "the export changed fenced segments"
for segment in "$IMSS_SHM_DIR"/imss-*; do state 1 "$segment"; done

# Without one of the data servers: what had no part there is written whole, the rest is named.
rm "$IMSS_SHM_DIR"/imss-data-*-1
expect 1 "$bin/imss" check --export half imss://kept
says out 'note: imss://kept: the segment of data server 1'
says out 'not written: imss://kept/dir/RR: '
[ ! -e half/kept/dir/RR ] || fail "a part of a dataset was written"
# Of copies those are whole whose size, which is not copied, is on the server that is left.
for number in 1 2 3 4 5 6; do
  if [ -e half/kept/copies$number ]; then
    same_file input half/kept/copies$number
  else
    says out "not written: imss://kept/copies$number: "
  fi
done
[ -n "$(ls half/kept/copies*)" ] || fail "no dataset with copies was written"
if command -v python3 > /dev/null; then
  "$bin/imss" check --json --export json imss://kept | python3 -c '
import json, sys
report = json.load(sys.stdin)
assert report["datasets"] >= 1 and len(report["incomplete"]) >= 1, report' || fail "the JSON report is wrong"
fi

expect 1 "$bin/imss" check --export none imss://none
one_sentence 'imss check'
expect 1 "$bin/imss" check --export none imss-data-1-1
expect 2 "$bin/imss" check --export none --repair
[ ! -e none ] || [ -z "$(ls -A none)" ] || fail "something was exported of nothing"
finish
