# Every option that a program's --help shows is in its manual page.
port_base=24800
. "$(dirname "$(readlink -f "$0")")/setup.bash"

man=$(dirname "$(readlink -f "$0")")/../../docs/man
count=0
# options_are_in PAGE COMMAND...
options_are_in() {
  local page=$1 option
  shift
  sed 's/\\-/-/g' "$man/$page" > page
  while read -r option; do
    count=$((count + 1))
    grep -Eq -- "(^|[^-a-z])$option([^-a-z]|$)" page || fail "$page does not say what $* $option is"
  done < <("$@" --help | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+')
}
for program in server mount.imss umount.imss imfssfs; do options_are_in $program.1 "$bin/$program"; done
for command in $("$bin/imss" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
  case $command in help | version) continue ;; esac
  options_are_in imss.1 "$bin/imss" "$command"
done
[ $count -gt 80 ] || fail "only $count options were found: the test looks at the wrong text"
finish
