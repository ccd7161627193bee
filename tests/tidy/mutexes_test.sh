#!/usr/bin/env bash
# Mutexes of classes are the annotated ones, and each says what it guards, so that clang can check it.
source "$(dirname "$0")/common.bash"

headers=$(find src -name '*.h' ! -path src/base/thread_annotations.h)
while IFS= read -r hit; do
  complain "use the mutexes of base/thread_annotations.h: $hit"
done < <(grep -HnE 'std::(mutex|shared_mutex|recursive_mutex|timed_mutex|condition_variable)\b' $headers)
while IFS= read -r hit; do
  complain "say it with IMSS_GUARDED_BY, which clang checks: $hit"
done < <(grep -HnE '//.*\b[Gg]uarded (by|as) [a-z_]+_\b' $headers)

# A mutex that no member names must at least say what it is for.
count=0
while IFS=: read -r file number line; do
  count=$((count + 1))
  name=$(sed -E 's/.*\bMutex ([a-z_]+_);.*/\1/' <<<"$line")
  grep -q "IMSS_GUARDED_BY($name)" "$file" || [[ $line == *//* ]] ||
    complain "$file:$number: what does $name guard?"
done < <(grep -HnE '^ *(mutable )?Mutex [a-z_]+_;' $headers)
((count > 0)) || complain "no mutex was found"
finish "$count mutexes"
