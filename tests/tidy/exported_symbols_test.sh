#!/usr/bin/env bash
# libimss_shared.so exports the functions that include/imss/imss.h declares, all of them and nothing else: no
# variable, no internal name that could clash with one of the program's own.
source "$(dirname "$0")/common.bash"

library=$build_dir/lib/libimss_shared.so
header=include/imss/imss.h
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The compiler itself lists what the header declares: "/* FILE:LINE:NC */ extern TYPE NAME (ARGUMENTS);"
printf '#include <imss/imss.h>\n' >"$scratch/declared.c"
gcc -std=c99 -fsyntax-only -Iinclude -aux-info "$scratch/declared.aux" "$scratch/declared.c"
grep -F "$header:" "$scratch/declared.aux" | grep -v ' static ' |
  sed -E 's/^[^*]*\*[^*]*\*\/ //; s/ \(.*//; s/.*[ *]//' | sort -u >"$scratch/declared"
[[ -s $scratch/declared ]] || complain "no function was found in $header"

# Instantiations of the standard library's templates are weak and the same in every program; they clash with
# nothing.
nm -D --defined-only "$library" |
  awk '!($2 ~ /[VvWwu]/ && $3 ~ /^_Z(Z|G[VR]|T[VISH])?N?K?(St|S[absiod]|9__gnu_cxx)/) {print $3}' | sort -u >"$scratch/exported"

while read -r name; do
  complain "$library does not export $name, which $header declares"
done < <(comm -23 "$scratch/declared" "$scratch/exported")
while read -r name; do
  complain "$library exports $(c++filt "$name"), which $header does not declare"
done < <(comm -13 "$scratch/declared" "$scratch/exported")

# libimss_posix.so stands in front of functions of the C library: it exports functions that the C library has, and nothing
# else. Some are there for programs that were built with older versions, so they are looked up and not compiled.
interceptor=$build_dir/lib/libimss_posix.so
c_library=$(ldd "$interceptor" | sed -n 's/.*libc\.so\.6 => \(.*\) (.*/\1/p')
nm -D --defined-only "$c_library" | awk '$2 ~ /[TWi]/ {sub(/@.*/, "", $3); print $3}' | sort -u >"$scratch/known"
nm -D --defined-only "$interceptor" | awk '{sub(/@.*/, "", $3); print $2, $3}' | sort -u >"$scratch/intercepted"
while read -r type name; do
  [[ $type == T ]] || complain "$interceptor exports $(c++filt "$name") of type $type, which is no function"
  grep -qxF "$name" "$scratch/known" || complain "$interceptor exports $(c++filt "$name"), which the C library does not have"
done <"$scratch/intercepted"
(($(wc -l <"$scratch/intercepted") > 200)) || complain "$interceptor exports hardly anything: the test looks at the wrong file"
finish "$(wc -l <"$scratch/declared") and $(wc -l <"$scratch/intercepted") functions"
