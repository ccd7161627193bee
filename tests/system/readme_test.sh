#!/usr/bin/env bash
# The README's commands with daemons do what they say.
port_base=24300
readme=$(dirname "$(readlink -f "$0")")/../../README.md
. "$(dirname "$(readlink -f "$0")")/setup.bash"
export PATH=$bin:$PATH

# The commands of the console block below a heading.
commands_below() {
  awk -v heading="## $1" '
    $0 == heading { inside = 1; next }
    /^## / { inside = 0 }
    inside && sub(/^\$ /, "") { print }' "$readme"
}

count=0
while read -r command; do
  # shellcheck disable=SC2086
  expect 0 $command
  count=$((count + 1))
done < <(commands_below "With daemons" | sed "s|/tmp/cmake-back|$work/cmake-back|")
[ "$count" -ge 6 ] || fail "the README has $count commands below 'With daemons'"
same_file /usr/bin/cmake "$work/cmake-back"

count=0
while read -r command; do
  # shellcheck disable=SC2086
  LD_LIBRARY_PATH=$build/lib expect 0 $command
  count=$((count + 1))
done < <(commands_below "Programs as they are")
[ "$count" -ge 4 ] || fail "the README has $count commands below 'Programs as they are'"
empty_dir "$IMSS_SHM_DIR"
finish
