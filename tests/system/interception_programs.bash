# What ordinary programs make of a folder. Run in an empty folder of tmpfs and in one of the store, the output must be the
# same. Called as `interception_programs.bash DIRECTORY`; lines must not depend on the order of entries, nor on times.
cd "$1" || exit 1
exec 2>&1
export LC_ALL=C HOME=$1
step() { echo "--- $1"; }

step redirections
mkdir -p a/b/c
echo one > a/1
echo two >> a/1
cat a/1
{ echo 1; sh -c 'echo 2; echo err >&2'; /bin/echo 3; } > both 2>&1
cat both
while read -r line; do echo "got $line"; done < both
{ read -r first; cat; } < both
exec 5<> both
read -r -u 5 line
echo "REPLACED $line" >&5
exec 5>&-
cat both
cat <<< "here string" > string
cat string
cat > document <<END
here document
END
cat document
wc -l both < both
echo lost > a
cat nothing
(cd a && cat < 1 > ../copied && cmp 1 ../copied) && echo copied
for i in 1 2 3; do echo "$i"; done | tee tee1 tee2 | tail -n 1
cmp tee1 tee2 && echo same
echo number 9> nine > /dev/fd/9
cat nine

step text
printf 'b\na\nc\n' | sort > sorted
sort -r sorted -o sorted
cat sorted
sed -i 's/one/ONE/' a/1
cat a/1
grep -rh two a
seq 1000 | split -l 100 - part.
cat part.* | md5sum
echo part.a? | wc -w
head -c 100000 /dev/zero | tr '\0' x > xs
tail -c 5 xs
od -c xs | tail -n 2
gzip -k xs && zcat xs.gz | cmp - xs && echo gzip
awk '{ print $1 > "awk." NR }' sorted
cat awk.1 awk.2 awk.3

step names
ln -s a/1 link
readlink link
cat link
ln a/1 hard
stat -c '%h %s %a %F' hard link
mv hard moved
[ moved -ef a/1 ] && echo one file
mkdir d1 d2
mv d1 d2
find . -name 'd?' | sort
rmdir d1 d2
rmdir d2/d1 d2
touch "with 'quotes' and blanks"
ls with*
rm with*
touch -d '2001-02-03 04:05:06.789 UTC' old
stat -c '%Y %y' old | cut -c 1-10
chmod 750 old
stat -c %A old
[ -x old ] && echo executable
[ old -ot a/1 ] && echo older
truncate -s 1234567 sparse
stat -c %s sparse
dd if=sparse bs=1000 skip=1000 count=1 status=none | od -c | head -n 3
dd if=/dev/zero of=dd bs=4096 count=10 status=none
dd if=/dev/null of=dd bs=1 seek=5000 status=none
stat -c %s dd
find a -type f -exec cat {} +
find . -newer old -type l
realpath --relative-to=. a/../a/b/../1 link
(cd a/b && /bin/pwd && pwd && cd .. && ls && cat ../string) | sed "s#$1#TOP#"
(cd -P . && ls "$PWD/a")
ls nothing
cat a
test -d a/1/below; echo "status $?"

step archives
tar -cf a.tar a link
tar -tf a.tar | sort
mkdir unpacked
tar -C unpacked -xf a.tar
diff -r a unpacked/a && echo tar
cp -a a copy
diff -r a copy && stat -c '%a %Y' a copy | uniq | wc -l
cp -r /usr/share/doc/tar tardoc
diff -r /usr/share/doc/tar tardoc && echo cp
rm -r copy unpacked tardoc
ls

step python
command -v python3 > /dev/null && python3 - <<'END'
import mmap, os, shutil, subprocess, tempfile
with open('py', 'w') as f: f.write('hi\n' * 1000)
print(os.path.getsize('py'), open('py').read().count('hi'))
print(subprocess.run(['cat', 'string'], capture_output=True).stdout)
subprocess.run(['echo', 'sub'], stdout=open('sub', 'w'))
print(open('sub').read(), [len(x[2]) for x in os.walk('a')])
shutil.copytree('a', 'tree'); shutil.copy('py', 'tree/py'); print(sorted(os.listdir('tree'))); shutil.rmtree('tree')
with open('py', 'rb') as f: print(mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)[:3])
with tempfile.TemporaryFile(dir='.') as f: f.write(b'temporary'); f.seek(0); print(f.read())
with open('pos', 'wb', buffering=0) as f: f.write(b'abc'); f.seek(1); f.write(b'B'); print(f.tell())
print(open('pos').read(), os.path.realpath('link')[-4:])
END

step perl
perl -e 'open(F, ">pl"); print F "perl\n"; close F; open(F, "pl"); print <F>; print -s "pl", "\n"; opendir(D, "a"); print join(",", sort readdir D), "\n"; system("cat pl"); print `cat pl`;'

step compilers
cat > main.c <<'END'
#include "part.h"
#include <stdio.h>
int main(void) {
  int number = 0;
  FILE* file = fopen("number", "w");
  fprintf(file, "%d\n", NUMBER);
  fclose(file);
  file = fopen("number", "r");
  if (fscanf(file, "%d", &number) != 1) return 1;
  printf("number %d\n", number);
  return 0;
}
END
echo '#define NUMBER 42' > part.h
cat > main.cc <<'END'
#include <fstream>
#include <iostream>
int main() {
  std::ofstream("stream") << 7 << '\n';
  int number = 0;
  std::ifstream("stream") >> number;
  std::cout << "stream " << number << std::endl;
}
END
printf 'all: one two\none: main.c part.h\n\tgcc -o one main.c\ntwo: main.cc\n\tg++ -o two main.cc\n' > Makefile
make -s && ./one && ./one > one.out && ./two && ./two > two.out && cat one.out two.out
make -s -q; echo "make $?"
printf '#!/bin/sh\necho script "$@"\n' > script
chmod +x script
./script with arguments

step cmake
mkdir project
cat > project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(small C)
add_library(part SHARED part.c)
add_executable(whole whole.c)
target_link_libraries(whole part)
END
echo 'int part(void) { return 42; }' > project/part.c
printf '#include <stdio.h>\nint part(void);\nint main(void) { printf("%%d\\n", part()); }\n' > project/whole.c
cmake -S project -B built -G 'Unix Makefiles' > log || cat log
make -s -j2 -C built > log || cat log
ls built/whole built/libpart.so

step git
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_GLOBAL=/dev/null
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='2020-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2020-01-01 00:00:00 +0000'
git init -q -b main repository
cp -r a main.c repository
git -C repository add . && git -C repository commit -q -m first
git -C repository rev-parse HEAD
git clone -q repository clone && git -C clone fsck
echo change >> clone/main.c
git -C clone diff --stat
git -C clone commit -q -a -m second && git -C clone push -q origin HEAD:other && git -C repository log --oneline --all | cat
git -C clone gc -q && git -C clone log --oneline | wc -l

step locks
sqlite3 base.db 'create table t(x); insert into t values (1),(2); update t set x = x + 1; select sum(x) from t;'
for i in 1 2 3 4; do
  for j in 1 2 3 4 5; do sqlite3 -cmd '.timeout 20000' base.db 'update t set x = x + 1'; done &
done
wait
sqlite3 base.db 'select sum(x) from t; pragma integrity_check;'
echo 0 > counter
for i in 1 2 3 4; do
  for j in 1 2 3 4 5 6; do
    flock counter.lock bash -c 'read -r n < counter; echo $((n + 1)) > counter'
  done &
done
wait
cat counter

step "the end"
rm -rf -- * .[!.]*
ls -A
