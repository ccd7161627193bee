# Other people's programs, one function each: `program_NAME` works below the empty folder $place, which is on the store, with
# $scratch for what it compares with, and returns 0 when the program's own verdict and all checksums are right. The line
# before a function says what it does, for the table. `need PROGRAM...` skips what is not installed. $form is short or long.
# Source it in a shell with `set -e`.

# Shared writable mappings are refused under interception, see docs/interception.md.
known_failures=" interception/sqlite3_wal interception/python3_mmap interception/fio_mmap "

need() {
  local program
  for program; do command -v "$program" > /dev/null || { echo "no $program"; exit 77; }; done
}
long() { [ "$form" = long ]; }
sum_of() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }
# same_tree A B: names, contents and types.
same_tree() { diff -r --no-dereference "$1" "$2" > /dev/null; }
# attributes DIR: of everything in it; the times of directories are up to who made the copy.
attributes() { (cd "$1" && find . -printf '%p %y %m %u %g %n %s %T@ %l\n' | sort); }
# A tree with every kind of thing a copy has to keep.
make_tree() {
  mkdir -p "$1/a/b/c" "$1/empty"
  head -c 100000 /dev/urandom > "$1/a/random"
  head -c 3000000 /dev/urandom > "$1/a/large"
  seq 20000 > "$1/a/b/numbers"
  : > "$1/a/b/c/nothing"
  printf 'blank\n' > "$1/a/with blank and \"quotes\""
  ln -s ../random "$1/a/b/link"
  ln -s missing "$1/dangling"
  ln "$1/a/random" "$1/a/b/c/second"
  truncate -s 5M "$1/sparse"
  printf end | dd of="$1/sparse" bs=1 seek=4000000 conv=notrunc status=none
  chmod 640 "$1/a/random"
  chmod 500 "$1/a/b/c"
  touch -d '2001-02-03 04:05:06.789' "$1/a/b/numbers" "$1/a/b" "$1/a"
}

# coreutils: cp, mv, ln, cat, sort, split, tee, dd, truncate, install, touch, stat, du, chmod, rm
program_coreutils() {
  seq 100000 > "$scratch/numbers"
  cp "$scratch/numbers" "$place/numbers"
  cmp "$scratch/numbers" "$place/numbers"
  sort -rn "$place/numbers" -o "$place/sorted"
  [ "$(head -n 1 "$place/sorted")" = 100000 ]
  tac "$place/sorted" | cmp - "$scratch/numbers"
  split -l 7000 "$place/numbers" "$place/part."
  cat "$place"/part.* | cmp - "$scratch/numbers"
  tee "$place/one" "$place/two" < "$scratch/numbers" | cksum > "$scratch/sum"
  [ "$(cksum < "$place/two")" = "$(cat "$scratch/sum")" ]
  dd if="$place/numbers" of="$place/copy" bs=777 status=none
  dd if=/dev/zero of="$place/copy" bs=10 count=1 conv=notrunc status=none
  dd if="$scratch/numbers" of="$place/copy" oflag=append conv=notrunc bs=64k status=none
  [ "$(stat -c %s "$place/copy")" -eq $((2 * $(stat -c %s "$scratch/numbers"))) ]
  truncate -s 3 "$place/copy"
  [ "$(od -An -tx1 "$place/copy")" = " 00 00 00" ]
  mkdir -p "$place/x/y/z"
  mv "$place/sorted" "$place/x/y/z"
  mv "$place/x/y" "$place/moved"
  ln "$place/moved/z/sorted" "$place/hard"
  ln -s moved/z "$place/soft"
  [ "$place/hard" -ef "$place/soft/sorted" ]
  [ "$(readlink -f "$place/soft/sorted")" = "$(readlink -f "$place")/moved/z/sorted" ]
  install -m 751 "$place/numbers" "$place/installed"
  [ "$(stat -c %a "$place/installed")" = 751 ]
  touch -r "$place/numbers" "$place/installed"
  [ "$(stat -c %Y "$place/installed")" = "$(stat -c %Y "$place/numbers")" ]
  [ "$(du -s --apparent-size -B1 "$place/one" | cut -f 1)" = "$(stat -c %s "$scratch/numbers")" ]
  df "$place" > /dev/null
  [ "$(ls "$place" | wc -l)" -gt 10 ]
  comm -3 "$place/one" "$place/two" > "$scratch/difference"
  [ ! -s "$scratch/difference" ]
  shuf "$place/one" | sort -n | cmp - "$scratch/numbers"
  rm -r "$place"/*
  [ -z "$(ls -A "$place")" ]
}

# bash: redirections, here-documents, pipelines, background jobs that append, descriptors that children inherit
program_bash() {
  cd "$place"
  echo one > file
  echo two >> file
  cat <<< three >> file
  cat >> file << END
four
END
  [ "$(paste -sd, file)" = one,two,three,four ]
  exec 3< file
  read -r first <&3
  rest=$(cat <&3)
  exec 3<&-
  [ "$first" = one ] && [ "$(wc -l <<< "$rest")" -eq 3 ]
  exec 4<> both
  echo hello >&4
  (echo child >&4)
  bash -c 'echo grandchild >&4'
  exec 4>&-
  [ "$(paste -sd, both)" = hello,child,grandchild ]
  for job in 1 2 3 4; do
    for line in $(seq 200); do echo "$job $line" >> log; done &
  done
  wait
  [ "$(wc -l < log)" -eq 800 ] && [ "$(sort -u log | wc -l)" -eq 800 ]
  while read -r job line; do echo "$((job * line))"; done < log | sort -n > products
  [ "$(tail -n 1 products)" -eq 800 ]
  diff <(sort log) <(sort -r log | sort) > /dev/null
  set -o noclobber
  ! echo no > file 2> /dev/null
  set +o noclobber
  printf '#!/bin/bash\necho "$1 from the store"\n' > script
  chmod +x script
  [ "$(./script hello)" = "hello from the store" ]
  mkdir -p sub/dir
  cd sub/dir
  echo up > ../../up
  [ "$(cat "$place/up")" = up ] && [ "$(basename "$PWD")" = dir ]
  cd "$scratch"
}

# tar: create, list, compare and extract with modes, links and sparse files
program_tar() {
  make_tree "$scratch/tree"
  tar -C "$scratch/tree" -cSf "$place/tree.tar" .
  mkdir "$place/out"
  tar -C "$place/out" --preserve-permissions -xf "$place/tree.tar"
  same_tree "$scratch/tree" "$place/out"
  tar -C "$place/out" -df "$place/tree.tar"
  tar -C "$place/out" -czf "$scratch/again.tar.gz" .
  [ "$(tar -tzf "$scratch/again.tar.gz" | sort)" = "$(tar -tf "$place/tree.tar" | sort)" ]
}

# cp -a: modes, owners, times, symbolic and hard links, holes
program_cp() {
  make_tree "$scratch/tree"
  cp -a "$scratch/tree" "$place/copy"
  same_tree "$scratch/tree" "$place/copy"
  diff <(attributes "$scratch/tree" | sed 's/ d \(.*\) [0-9]* [0-9]* \([0-9.]*\) $/ d \1 \2/') \
    <(attributes "$place/copy" | sed 's/ d \(.*\) [0-9]* [0-9]* \([0-9.]*\) $/ d \1 \2/')
  cp -a "$place/copy" "$place/second"
  same_tree "$scratch/tree" "$place/second"
  cp --sparse=always "$place/copy/sparse" "$place/sparse"
  cmp "$scratch/tree/sparse" "$place/sparse"
}

# rsync: -aH there and back, again without work, by checksum, with deletions, in place
program_rsync() {
  need rsync
  make_tree "$scratch/tree"
  rsync -aH "$scratch/tree/" "$place/copy/"
  same_tree "$scratch/tree" "$place/copy"
  [ -z "$(rsync -aHi "$scratch/tree/" "$place/copy/")" ]
  [ -z "$(rsync -aHci "$scratch/tree/" "$place/copy/")" ]
  seq 5 > "$scratch/tree/a/new"
  rm "$scratch/tree/dangling"
  rsync -aH --delete --inplace "$scratch/tree/" "$place/copy/"
  same_tree "$scratch/tree" "$place/copy"
  mkdir "$scratch/back"
  rsync -aH "$place/copy/" "$scratch/back/"
  same_tree "$scratch/tree" "$scratch/back"
}

# find: by name, type, size and time, with -exec and -delete
program_find() {
  make_tree "$place/tree"
  [ "$(find "$place/tree" | wc -l)" -eq 14 ]
  [ "$(find "$place/tree" -type l | wc -l)" -eq 2 ]
  [ "$(find "$place/tree" -type f -size +1M | wc -l)" -eq 2 ]
  [ "$(find "$place/tree" -samefile "$place/tree/a/random" | wc -l)" -eq 2 ]
  [ "$(find "$place/tree" -name 'with blank*' -exec cat {} \;)" = blank ]
  [ "$(find "$place/tree" ! -newermt 2002-01-01 -type f)" = "$place/tree/a/b/numbers" ]
  find "$place/tree" -type f -print0 | xargs -0 sha256sum > /dev/null
  chmod 700 "$place/tree/a/b/c"
  find "$place/tree" -mindepth 1 -delete
  [ -z "$(ls -A "$place/tree")" ]
}

# git: commits, branches, merge, clone, gc, fsck, stash, grep
program_git() {
  need git
  export GIT_CONFIG_GLOBAL=$scratch/gitconfig GIT_CONFIG_NOSYSTEM=1
  git config --global user.name tester
  git config --global user.email tester@example.org
  git config --global --add safe.directory '*'
  git config --global init.defaultBranch trunk
  git init -q "$place/work"
  cd "$place/work"
  for round in $(seq 12); do
    mkdir -p "dir$round"
    seq "$round"000 > "dir$round/numbers"
    seq "$round" >> log
    git add -A
    git commit -qm "round $round"
  done
  git checkout -qb side HEAD~3
  echo side > side
  git add side
  git commit -qm side
  git checkout -q trunk
  git merge -qm merge side
  [ "$(git rev-list --count HEAD)" -eq 14 ]
  git clone -q "$place/work" "$place/clone"
  same_tree "$place/work/dir12" "$place/clone/dir12"
  git gc -q --aggressive --prune=now
  git fsck --full --strict > /dev/null 2>&1
  git -C "$place/clone" fsck --full > /dev/null 2>&1
  echo change >> log
  [ "$(git status --porcelain)" = " M log" ]
  git stash -q
  [ -z "$(git status --porcelain)" ]
  git stash pop -q
  git grep -q '^11999$' -- dir12
  cd "$scratch"
}

# gcc and make -j2: a library and a program; the long form builds the library of this project with CMake and Ninja
program_gcc() {
  need gcc make ar
  mkdir "$place/src"
  cd "$place/src"
  for unit in $(seq 30); do
    printf 'int f%d(int x) { return x + %d; }\n' "$unit" "$unit" > "f$unit.c"
    printf 'int f%d(int);\n' "$unit" >> all.h
  done
  {
    printf '#include <stdio.h>\n#include "all.h"\nint main(void) { int x = 0;\n'
    for unit in $(seq 30); do printf 'x = f%d(x);\n' "$unit"; done
    printf 'printf("%%d\\n", x); return 0; }\n'
  } > main.c
  printf 'CFLAGS = -O1 -g\nOBJS = $(patsubst %%.c,%%.o,$(wildcard f*.c))\nprog: main.o libf.a\n\t$(CC) -o $@ $^\nlibf.a: $(OBJS)\n\tar rcs $@ $^\nmain.o: all.h\n' > Makefile
  make -j2 > "$scratch/make.log" 2>&1
  [ "$(./prog)" -eq 465 ]
  make -q
  strip prog
  [ "$(./prog)" -eq 465 ]
  cd "$scratch"
  long || return 0
  need cmake ninja
  mkdir "$place/imss"
  tar -C "$source" --exclude=./build --exclude=./.git -cf - . | tar -C "$place/imss" -xf -
  cmake -S "$place/imss" -B "$place/imss/build" -G Ninja -DCMAKE_BUILD_TYPE=Release > "$scratch/cmake.log" 2>&1
  cmake --build "$place/imss/build" -j2 --target imss_shared > "$scratch/cmake.log" 2>&1
  [ -s "$place/imss/build/lib/libimss_shared.so" ]
}

# sqlite3: rollback journal, two writers at the same time, integrity check, vacuum
program_sqlite3() {
  need sqlite3
  sqlite3 "$place/data.db" 'PRAGMA journal_mode=delete; CREATE TABLE t(id INTEGER PRIMARY KEY, who, text);' > /dev/null
  for who in a b; do
    for _ in $(seq 20); do
      sqlite3 -cmd '.timeout 20000' "$place/data.db" \
        "BEGIN IMMEDIATE; INSERT INTO t(who, text) SELECT '$who', hex(randomblob(500)) FROM generate_series(1,20); COMMIT;"
    done &
  done
  wait
  [ "$(sqlite3 "$place/data.db" 'SELECT count(*) FROM t')" -eq 800 ]
  sqlite3 "$place/data.db" 'BEGIN; DELETE FROM t; ROLLBACK; CREATE INDEX i ON t(text); DELETE FROM t WHERE id % 2; VACUUM;'
  [ "$(sqlite3 "$place/data.db" 'PRAGMA integrity_check; SELECT count(*) FROM t')" = "$(printf 'ok\n400')" ]
}

# sqlite3 WAL: the write-ahead log, which maps a file that all connections share
program_sqlite3_wal() {
  need sqlite3
  [ "$(sqlite3 "$place/data.db" 'PRAGMA journal_mode=wal;')" = wal ]
  sqlite3 "$place/data.db" 'CREATE TABLE t(id INTEGER PRIMARY KEY, text);'
  for _ in 1 2; do
    for _ in $(seq 20); do
      sqlite3 -cmd '.timeout 20000' "$place/data.db" \
        "BEGIN IMMEDIATE; INSERT INTO t(text) SELECT hex(randomblob(500)) FROM generate_series(1,20); COMMIT;"
    done &
  done
  wait
  [ "$(sqlite3 "$place/data.db" 'PRAGMA integrity_check; SELECT count(*) FROM t')" = "$(printf 'ok\n800')" ]
}

# python3: shutil, tempfile, zipfile, pickle, os.scandir, locks by fcntl
program_python3() {
  need python3
  python3 "$programs/python_files.py" "$place"
}

# python3 mmap: private and shared mappings
program_python3_mmap() {
  need python3
  python3 "$programs/python_mmap.py" "$place"
}

# HDF5 tools and h5py: chunked and compressed datasets, h5dump, h5repack, h5diff
program_hdf5() {
  need python3 h5dump h5repack h5diff
  python3 -c 'import h5py' 2> /dev/null || { echo "no h5py"; exit 77; }
  python3 "$programs/h5py_files.py" "$place/data.h5"
  h5repack -f GZIP=1 "$place/data.h5" "$place/packed.h5"
  h5diff "$place/data.h5" "$place/packed.h5"
  h5dump -d /group/chunked -s 0,0 -c 1,4 "$place/packed.h5" > /dev/null
}

fio_with() {
  need fio
  fio --name=verify --directory="$place" --ioengine="$1" --rw=randrw --bs=4k,64k --size=16M --numjobs=2 --verify=crc32c \
    --verify_fatal=1 --do_verify=1 --end_fsync=1 --group_reporting --output="$scratch/fio.log"
}
# fio psync: random reads and writes with verification, two processes
program_fio_psync() { fio_with psync; }
# fio sync: the same by lseek, read and write
program_fio_sync() { fio_with sync; }
# fio posixaio: the same by aio_read and aio_write
program_fio_posixaio() { fio_with posixaio; }
# fio mmap: the same in shared mappings
program_fio_mmap() { fio_with mmap; }

# dbench: two clients of a file server's trace
program_dbench() {
  need dbench
  dbench -D "$place" -t "$(long && echo 30 || echo 3)" 2 > "$scratch/dbench.log" 2>&1
  grep -q '^Throughput' "$scratch/dbench.log"
  ! grep -qi 'failed\|error' "$scratch/dbench.log"
}

# bonnie++: sequential and random data, creation and removal of many files
program_bonnie() {
  need bonnie++
  local size=(-f -s 32 -r 16 -n 1)
  ! long || size=(-s 256 -r 128 -n 4)
  bonnie++ -d "$place" "${size[@]}" -u "$(id -un)" -q > "$scratch/bonnie.csv" 2> "$scratch/bonnie.log"
  [ "$(wc -l < "$scratch/bonnie.csv")" -ge 1 ]
}

# stress-ng: its file stressors with verification
program_stress_ng() {
  need stress-ng
  local stressor all=(dentry dir fcntl flock getdent hdd iomix link lockf rename symlink utime)
  ! long || all+=(access chdir chmod chown copy-file dirdeep dirmany dup fallocate file-ioctl filename fpunch fsize fstat handle \
    inode-flags io locka lockofd mknod open touch xattr)
  # Two of them reserve their file, of 1 GiB unless told, which has to fit.
  local sizes=(--iomix-bytes 64m --fallocate-bytes 64m)
  for stressor in "${all[@]}"; do
    (cd "$place" && stress-ng --temp-path "$place" --verify "${sizes[@]}" --"$stressor" 1 --timeout "$(long && echo 5 || echo 1)s" -q \
      > "$scratch/stress.log" 2>&1) || { echo "stressor $stressor: $(tail -n 3 "$scratch/stress.log")"; return 1; }
  done
}

# LAMMPS: a melt that writes dumps and restart files, and goes on from one with the same result
program_lammps() {
  need lmp
  cp "$programs/melt.lammps" "$programs/again.lammps" "$place"
  (cd "$place" && lmp -in melt.lammps -log melt.log -screen none)
  (cd "$place" && lmp -in again.lammps -log again.log -screen none)
  cmp "$place/melt.final" "$place/again.final"
  [ "$(grep -c 'ITEM: TIMESTEP' "$place/melt.dump")" -eq 5 ]
}

mpi_io_with() {
  local compiler=mpicc.$1 run=mpirun.$1
  need "$compiler" "$run"
  "$compiler" -O1 -o "$scratch/mpi_io" "$programs/mpi_io.c"
  local options=()
  [ "$1" = openmpi ] && options=(--allow-run-as-root --oversubscribe)
  "$run" "${options[@]}" -n 4 "$scratch/mpi_io" "$place/shared" > "$scratch/mpi.log" 2>&1 || { grep -m 2 'is wrong' "$scratch/mpi.log" || tail -n 5 "$scratch/mpi.log"; return 1; }
  grep -q '^all is well' "$scratch/mpi.log"
}
# MPI-IO, MPICH (ROMIO): collective, independent, atomic and shared-pointer access of 4 ranks to one file
program_mpi_io_mpich() { mpi_io_with mpich; }
# MPI-IO, Open MPI (OMPIO): the same but for atomic mode, which it does not keep anywhere
program_mpi_io_openmpi() { mpi_io_with openmpi; }
