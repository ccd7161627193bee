# Shared by the tests of the virtual hosts: a scratch folder, and checks that are counted.
set -u
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/cluster.bash"
scratch=$(mktemp -d /tmp/imss-cluster-test-XXXXXX)
trap 'rm -rf "$scratch"; cluster_down' EXIT
failures=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
# check SENTENCE TEST...: the sentence is true if test(1) says so.
check() {
  local sentence=$1
  shift
  test "$@" || fail "$sentence ($*)"
}
finish() {
  if ((failures > 0)); then
    cluster_logs 20
    exit 1
  fi
  echo "all checks passed"
  exit 0
}
