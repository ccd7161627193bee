# What the shell of `up` starts with: the cluster's commands, and a prompt that says where one is.
if [[ -f ~/.bashrc ]]; then source ~/.bashrc; fi
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/cluster.bash"
cluster_attach "$CLUSTER_STANDING"
PS1='(cluster) \w\$ '
