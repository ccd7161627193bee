# Other people's programs on the store through all doors, in the short form of tests/compatibility/run.
run=$(dirname "$(readlink -f "$0")")/../compatibility/run
doors=(--door interception)
[ -c /dev/fuse ] && doors+=(--door fuse)
# What is known not to work is in docs/compatibility.md.
exec "$run" --build "$1" "${doors[@]}"
