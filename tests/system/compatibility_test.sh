# Other people's programs on the store through all doors, in the short form of tests/compatibility/run.
run=$(dirname "$(readlink -f "$0")")/../compatibility/run
doors=(--door fuse)
if [ ! -c /dev/fuse ]; then
  echo "SKIPPED: there is no /dev/fuse"
  exit 77
fi
exec "$run" --build "$1" "${doors[@]}"
