# Shared by the tidy tests: they take the source folder and the build folder as arguments, call `complain` for
# every fault and end with `finish`.
set -euo pipefail
export LC_ALL=C
source_dir=$1
build_dir=$2
cd "$source_dir"

faults=0
complain() {
  printf '%s\n' "$*"
  faults=$((faults + 1))
}

# Ends the test; the argument says what was looked at, so that a test that looked at nothing is noticed.
finish() {
  printf '%s: %d faults\n' "$*" "$faults"
  ((faults == 0))
}

# Source files of the project below the folders given, whichever of them exist.
sources_below() {
  local folder
  for folder in "$@"; do
    [[ -d $folder ]] || continue
    find "$folder" -type f \( -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.hpp' \)
  done | sort
}
code_folders=(src include fuse preload tools examples bench tests)
