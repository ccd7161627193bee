#!/usr/bin/env bash
# Rules about files: none is longer than 600 lines and no function than 80, none holds commented-out code or notes for later, and every
# one is part of the build.
source "$(dirname "$0")/common.bash"

longest=600
count=0
while read -r file; do
  count=$((count + 1))
  lines=$(wc -l <"$file")
  ((lines <= longest)) || complain "$file has $lines lines, at most $longest are allowed"
done < <(sources_below "${code_folders[@]}")
((count > 0)) || complain "no source file was found"

# A comment that is a statement, opens or closes a block, or is a directive. Prose has blanks before a bracket.
word='[A-Za-z_][A-Za-z0-9_:<>.*&[-]*'
statement="($word[[:space:]]+)?$word(\(.*\);|[[:space:]]*[-+|&]?=[^=].*;)"
block='[A-Za-z_].*\)[[:space:]]*\{|\}[;,)]*|(return|break|continue)[^,]*;|(if|for|while) \(.*\).*;'
code_in_comment="^[[:space:]]*//+[[:space:]]*($statement|$block|#(if|endif|else|include|define).*)[[:space:]]*\$"
while IFS= read -r hit; do
  complain "commented-out code: $hit"
done < <(sources_below "${code_folders[@]}" | xargs grep -HnE "$code_in_comment|^[[:space:]]*#[[:space:]]*if[[:space:]]+0")
while IFS= read -r hit; do
  complain "note for later: $hit"
done < <(sources_below "${code_folders[@]}" | xargs grep -HnE '//.*\b(TO''DO|FIX''ME|X''XX|HA''CK)\b')

# Functions at the left margin, as clang-format leaves them: from the line that opens the body to the brace alone.
longest_function=80
while IFS= read -r hit; do
  complain "$hit"
done < <(sources_below "${code_folders[@]}" | xargs awk -v longest=$longest_function '
  FNR == 1 { start = 0 }
  /^[A-Za-z_].*\{$/ && !/^(namespace|struct|class|enum|union|extern|typedef)/ { start = FNR; first = $0; next }
  /^ .*\) (const )?(noexcept )?\{$/ && !start && previous ~ /^[A-Za-z_].*[(,]$/ { start = FNR; first = previous }
  /^\}/ && start { if (FNR - start - 1 > longest)
      printf "%s:%d: a function of %d lines, at most %d are allowed\n", FILENAME, start, FNR - start - 1, longest
    start = 0 }
  { previous = $0 }')

# The build's own list of what it compiles.
commands=$build_dir/compile_commands.json
[[ -f $commands ]] || complain "$commands is missing: configure with CMAKE_EXPORT_COMPILE_COMMANDS"
root=$(pwd -P)
while read -r file; do
  grep -qF "\"$root/$file\"" "$commands" || complain "$file is compiled by no target"
done < <(sources_below src fuse preload tools tests | grep -E '\.(c|cc)$' | grep -Ev '^tests/(consumer|compatibility)/')

# A script that is called differently is never run.
for script in tests/system/* tests/tidy/*; do
  [[ -f $script ]] || continue
  case $script in
    *_test.sh | *.bash | *.md) ;;
    *) complain "$script is no test (*_test.sh) and no part of one (*.bash)" ;;
  esac
done

# System tests run at the same time: each has a hundred ports of its own, of which the data and the metadata ports begin each half.
while read -r base other; do
  ((other - base >= 100)) || complain "the ports of two system tests overlap: port_base $base and $other"
done < <(sed -n 's/^port_base=//p' tests/system/*_test.sh | sort -n | awk 'NR > 1 { print last, $1 } { last = $1 }')
finish "$count files"
