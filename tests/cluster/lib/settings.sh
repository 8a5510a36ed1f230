# What all parts of the cluster agree on.
# shellcheck shell=bash disable=SC2034,SC2154  # read by the other parts

BIN=$(cd "$here/../.." && pwd)/target/cluster/bin
DEVKUBE=$BIN/devkube
export PATH=$BIN:$PATH

# On a plain file system: containerd's overlays cannot lie on another overlay.
STATE=/var/lib/ckrv-cluster
RUN=/run/ckrv-cluster
PKI=$STATE/pki
LOGS=$STATE/log
ADMIN=$STATE/admin.kubeconfig
CONTAINERD=$RUN/containerd.sock

NODE=node1
# Lies on a bridge without ports, so that pods reach API server and kubelet and the outside does not.
NODE_IP=10.89.0.1
PODS=10.88.0.0/16
SERVICES=10.96.0.0/16
API_IP=10.96.0.1
DNS_IP=10.96.0.10
API=https://$NODE_IP:6443

kube() { KUBECONFIG=$ADMIN kubectl "$@"; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { echo "cluster: waited in vain for $what; see $LOGS" >&2; return 1; }
        sleep 0.1
    done
}
