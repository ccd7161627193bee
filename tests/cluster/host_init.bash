# The first process of a virtual host, in fresh namespaces: host_init.bash DIR HOST, with DIR the cluster's folder. It
# gives the host its own file systems and names, says in DIR/hosts/HOST/pid that it is ready, and then only collects
# the processes nobody waits for. When it is killed, the kernel kills every process of the host and unmounts all.
set -euo pipefail
cluster=$1
host=$2
# The /proc of the machine is still in place: this is the number of this process as seen from outside.
read -r outside _ </proc/self/stat
cd "$cluster"
IFS=: read -ra visible <<<"$CLUSTER_VISIBLE"

# mount(8) keeps records below /run, where it cannot write or nobody would read them.
mount() { command mount --no-mtab "$@"; }

# take PATH FILE: the host's own version of a file, where the machine has one.
take() {
  if [[ -e $1 ]]; then mount --bind "$2" "$1"; fi
}

# fresh PATH MODE: an empty file system, in which those visible folders that lie below PATH are seen, read-only.
fresh() {
  local folder
  mount -t tmpfs -o "mode=$2" tmpfs stage
  for folder in "${visible[@]}"; do
    [[ $folder == "$1"/* && -d $folder ]] || continue
    mkdir -p "stage/${folder#"$1"/}"
    mount --bind "$folder" "stage/${folder#"$1"/}"
    mount -o remount,bind,ro "stage/${folder#"$1"/}"
  done
  mount --move stage "$1"
}

# The devices of this network are those below /sys; control groups stay as they are.
own_sys() {
  mount -t sysfs sysfs stage
  if [[ -d /sys/fs/cgroup ]]; then mount --rbind /sys/fs/cgroup stage/fs/cgroup; fi
  mount --move stage /sys
}

# Programs tell machines apart by these.
own_names() {
  local folder=hosts/$host
  echo "$host" >/proc/sys/kernel/hostname
  echo "$host" >"$folder/hostname"
  cat /proc/sys/kernel/random/uuid >"$folder/boot_id"
  tr -d - </proc/sys/kernel/random/uuid >"$folder/machine-id"
  take /etc/hostname "$folder/hostname"
  take /etc/machine-id "$folder/machine-id"
  take /proc/sys/kernel/random/boot_id "$folder/boot_id"
  take /etc/hosts names
  take /etc/passwd passwd
}

# Nothing of the machine can be written from a host, except what stands apart from its file systems: devices and the
# like. The hosts inherit this view from the switch.
protect_machine() {
  local target
  mount --bind "$cluster" "$cluster"
  while read -r target; do
    case $target in
      /proc | /proc/* | /sys | /sys/* | /dev | /dev/* | "$cluster") ;;
      *) mount -o remount,bind,ro "$target" 2>/dev/null || true ;;
    esac
  done < <(findmnt --raw --noheadings --output TARGET)
}

if [[ $host == switch ]]; then
  # Keeps the /proc of the machine, in which the hosts find their number.
  protect_machine
  cd "$cluster"
else
  mount -t proc proc /proc
  own_names
  own_sys
  fresh /dev/shm 1777
  fresh /run 755
  mkdir -m 700 /run/home
  cp -a home/. /run/home
  mapfile -t environment <environment
  if [[ -e ssh ]]; then
    cp host_key /run/host_key
    env -i "${environment[@]}" dropbear -e -s -m -r /run/host_key -P /run/dropbear.pid -p 22
  fi
  fresh /tmp 1777
  # Only the loopback device gets an IPv6 address: what is reached by one network is cut with it.
  if [[ -e /proc/sys/net/ipv6/conf/default/disable_ipv6 ]]; then
    echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
  fi
fi
mkfifo "hosts/$host/never"
exec {never}<>"hosts/$host/never"
echo "$outside" >"hosts/$host/pid.new"
mv "hosts/$host/pid.new" "hosts/$host/pid"
if [[ $host != switch ]]; then cd /run/home; fi
trap '' TERM INT HUP
while true; do
  read -r -u "$never" || true
done
