#!/usr/bin/env bash
# UCX and ZeroMQ stay in the network module: it exports the one function that the loader looks for, and neither our
# library nor our programs link what it links.
source "$(dirname "$0")/common.bash"

module=$build_dir/lib/libimss_net.so
count=0
exported=$(nm -D --defined-only "$module" |
  awk '!($2 ~ /[VvWwu]/ && $3 ~ /^_Z(Z|G[VR]|T[VISH])?N?K?(St|S[absiod]|9__gnu_cxx)/) {print $3}')
[[ $exported == imss_net_module_v1 ]] || complain "$module exports ${exported:-nothing}, not imss_net_module_v1 alone"

needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
grep -q '^libucp' <<<"$(needs "$module")" || complain "$module does not link UCX: this test looks at the wrong file"
for file in "$build_dir"/lib/libimss_shared.so "$build_dir"/lib/libimss_posix.so "$build_dir"/bin/imss "$build_dir"/bin/server; do
  count=$((count + 1))
  [[ -f $file ]] || { complain "$file was not built" && continue; }
  while read -r name; do
    complain "$file links $name, which costs every start of a program"
  done < <(needs "$file" | grep -E '^lib(uc[pstm]|zmq|imss_net)')
done
# What is loaded into every program brings nothing of its own along, GLib least of all: it may be called before that begins.
while read -r name; do
  [[ $name =~ ^(libc|libm|ld-linux.*)\.so ]] || complain "libimss_posix.so links $name"
done < <(needs "$build_dir/lib/libimss_posix.so")
finish "$count files besides the module"
