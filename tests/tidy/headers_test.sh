#!/usr/bin/env bash
# Every header compiles alone: the public C header as C99 and as C++, the public C++ headers and our own as C++20.
source "$(dirname "$0")/common.bash"

glib_flags=$(pkg-config --cflags glib-2.0)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compilers_c=()
compilers_cxx=()
for compiler in gcc clang; do command -v $compiler >/dev/null && compilers_c+=("$compiler"); done
for compiler in g++ clang++; do command -v $compiler >/dev/null && compilers_cxx+=("$compiler"); done

# compile COMPILER FLAGS... HEADER: prints the messages under the header's name when it fails.
compile() {
  local header=${*: -1} unit
  unit=$(mktemp "$scratch/XXXXXX")
  printf '#include <%s>\n' "$header" >"$unit.${suffix:?}"
  if ! "${@:1:$#-1}" -fsyntax-only "$unit.$suffix" 2>"$unit.log"; then
    printf '%s does not compile alone with %s\n' "$header" "${*:1:$#-1}"
    head -20 "$unit.log"
    return 1
  fi
}
export -f compile
export scratch

strict='-Wall -Wextra -pedantic -Werror'
jobs_file=$scratch/jobs
count=0
while read -r header; do
  name=${header#include/}
  case $header in
    *.h)
      for compiler in "${compilers_c[@]}"; do
        echo "suffix=c compile $compiler -std=c99 $strict -Iinclude $name" >>"$jobs_file"
      done
      for compiler in "${compilers_cxx[@]}"; do
        echo "suffix=cc compile $compiler -std=c++11 $strict -Iinclude $name" >>"$jobs_file"
      done
      ;;
    *.hpp)
      for compiler in "${compilers_cxx[@]}"; do
        echo "suffix=cc compile $compiler -std=c++20 $strict -Iinclude $name" >>"$jobs_file"
      done
      ;;
  esac
  count=$((count + 1))
done < <(sources_below include)
while read -r header; do
  echo "suffix=cc compile g++ -std=c++20 $strict -Wno-missing-field-initializers -Isrc -Iinclude $glib_flags ${header#src/}" >>"$jobs_file"
  count=$((count + 1))
done < <(sources_below src | grep '\.h$')

if ! xargs -P "$(nproc)" -d '\n' -n 1 bash -c <"$jobs_file"; then complain "some headers need others before them"; fi
finish "$count headers"
