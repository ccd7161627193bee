#!/usr/bin/env bash
# Who may include whom, among our folders and from other projects.
source "$(dirname "$0")/common.bash"

# Folders of src/ that each folder may use besides itself.
declare -A may_use=(
  [src/base]=""
  [src/segment]="base"
  [src/store]="base segment"
  [src/metadata]="base segment store"
  [src/policies]="base"
  [src/net]="base"
  [src/server]="base segment store metadata policies net client"
  [src/client]="base segment store metadata policies net server"
  [src/posix]="base client"
  [fuse]="base client posix"
  [preload]="base client posix"
  [tools]="base segment store metadata policies server client posix"
  [bench]="base segment store metadata policies net server client posix"
  [tests]="base segment store metadata policies net server client posix"
  [include]=""
  [examples]=""
)

# Where headers of other projects may appear, as a pattern of paths.
outside_rules=(
  '^(glib|gio/|gmodule)        ^(src/base/config[a-z_]*\.(cc|h)|tools/)'
  '^fuse                       ^fuse/'
  '^mpi\.h$                    ^(tools|tests|examples|bench)/'
  '^(uc[mpst]/|zmq)            ^src/net/'
  '^gperftools                 ^$'
  '^catch2/                    ^tests/'
)

# Sets `home`. Neither this nor the loop below starts a program for each include: there are thousands.
find_home() {
  home=${1%%/*}
  local rest=${1#src/}
  [[ $1 == src/*/* ]] && home=src/${rest%%/*}
  return 0
}

check_ours() {  # file, line, included path
  local file=$1 line=$2 path=$3 home folder
  find_home "$file"
  folder=${path%%/*}
  # Headers of the file's own folder without a path, and of the tests' own tree.
  [[ $path == */* ]] || return 0
  [[ $home == tests && -e tests/$path ]] && return 0
  [[ $home == "src/$folder" ]] && return 0
  if [[ ! -d src/$folder ]]; then
    complain "$file:$line: \"$path\" is not a path below src/"
  elif [[ ! -v may_use[$home] ]]; then
    complain "$file:$line: nobody has said what $home may include"
  elif [[ $home == src/net && $path =~ ^(metadata/(values|changes)|store/attributes)\.h$ ]]; then
    return 0  # plain values, which messages carry
  elif [[ " ${may_use[$home]} " != *" $folder "* ]]; then
    complain "$file:$line: $home must not use src/$folder"
  elif [[ $home == src/client && $folder == server && ! $path =~ ^server/(metadata_server|data_server|deployment|leftover)\.h$ ]]; then
    complain "$file:$line: the client uses the server only to start and stop servers"
  elif [[ $home == src/server && $folder == client && ! $path =~ ^client/(session|session_internal|local_host)\.h$ ]]; then
    complain "$file:$line: the server uses the client only to reach the metadata service"
  fi
}

check_outside() {  # file, line, included path
  local file=$1 line=$2 path=$3 rule header places
  for rule in "${outside_rules[@]}"; do
    read -r header places <<<"$rule"
    if [[ $path =~ $header && ! $file =~ $places ]]; then
      complain "$file:$line: <$path> may only be included by files like $places"
    fi
  done
  if [[ $file == src/* && $path == imss/* && ! $file =~ ^src/client/ ]]; then
    complain "$file:$line: only the client knows the public headers"
  fi
}

count=0
while IFS=: read -r file line text; do
  count=$((count + 1))
  [[ $text =~ include[[:space:]]*[\<\"]([^\>\"]*) ]] || complain "$file:$line: is no include"
  path=${BASH_REMATCH[1]}
  if [[ $text == *\"* ]]; then
    check_ours "$file" "$line" "$path"
  else
    check_outside "$file" "$line" "$path"
  fi
done < <(sources_below "${code_folders[@]}" | xargs grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]')
((count > 0)) || complain "no include was found: the test does not look at the sources"
finish "$count includes"
