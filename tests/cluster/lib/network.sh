# The node's address, the pods' network, and the machine's settings that these and the kubelet change.
# shellcheck shell=bash

BRIDGE=ckrv0
SETTINGS=(net.ipv4.ip_forward vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
    kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
# Components make these whatever they are told.
ELSEWHERE=(/etc/cni /opt/cni /run/containerd /run/kubernetes /run/netns /run/runc /usr/libexec/kubernetes
    /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods)
# Pods that leave the cluster do so under the machine's own address.
LEAVING=(POSTROUTING -s "$PODS" ! -d "$PODS" -m comment --comment "ckrv cluster" -j MASQUERADE)

# Before anything is changed, so that `down` can put it back.
remember_the_machine() {
    [ ! -f "$STATE/before" ] || return 0
    mkdir -p "$STATE"
    local folder
    sysctl "${SETTINGS[@]}" >"$STATE/sysctl" 2>/dev/null || true
    for folder in "${ELSEWHERE[@]}"; do
        [ -e "$folder" ] || echo "$folder"
    done >"$STATE/before"
}

forget_the_machine() {
    [ -d "$STATE" ] || return 0
    [ ! -f "$STATE/sysctl" ] || sysctl -q -p "$STATE/sysctl"
    unmount "$STATE" "$RUN"
    if [ -f "$STATE/before" ]; then
        local made
        mapfile -t made <"$STATE/before"
        [ ${#made[@]} -eq 0 ] || { unmount "${made[@]}" && rm -rf --one-file-system "${made[@]}"; }
    fi
    rm -rf --one-file-system "$STATE" "$RUN"
}

# Everything mounted below one of the folders, the innermost first.
unmount() {
    local folder
    for folder in "$@"; do
        awk -v folder="$folder/" 'index($2 "/", folder) == 1 { print $2 }' /proc/self/mounts
    done | sort -ru | xargs -r umount --lazy
}

network() {
    sysctl -q -w net.ipv4.ip_forward=1
    if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
        ip link add "$BRIDGE" type bridge
        ip addr add "$NODE_IP/32" dev "$BRIDGE"
        ip link set "$BRIDGE" up
    fi
    iptables -w -t nat -C "${LEAVING[@]}" 2>/dev/null || iptables -w -t nat -A "${LEAVING[@]}"
    # Point to point rather than a bridge: what a pod sends to another one passes the machine's packet filter, too.
    mkdir -p "$STATE/cni"
    cat >"$STATE/cni/10-pods.conflist" <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "$STATE/addresses", "ranges": [[{"subnet": "$PODS"}]],
   "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "tuning", "sysctl": {"net.ipv6.conf.eth0.disable_ipv6": "1"}},
  {"type": "portmap", "capabilities": {"portMappings": true}},
  {"type": "policies", "socket": "$POLICIES"}]}
C
    # Debian's plugins and ours, in one folder, as containerd 1 wants them.
    mkdir -p "$STATE/plugins"
    ln -sf /usr/lib/cni/* "$BIN/policies" "$STATE/plugins/"
    # Name servers as the machine has them, but none that only the machine itself reaches.
    {
        grep -E '^nameserver' /etc/resolv.conf | grep -vE '[[:space:]](127\.|::1)' || echo "nameserver $NODE_IP"
    } >"$STATE/resolv.conf"
}

remove_network() {
    # kube-proxy takes back its own chains, but for this one.
    if [ -f "$STATE/proxy.kubeconfig" ]; then
        "$DEVKUBE" kube-proxy --cleanup >/dev/null 2>&1 || true
        local table chain
        for table in iptables ip6tables; do
            for chain in INPUT OUTPUT; do
                "$table" -w -D "$chain" -j KUBE-FIREWALL 2>/dev/null || true
            done
            ! "$table" -w -F KUBE-FIREWALL 2>/dev/null || "$table" -w -X KUBE-FIREWALL
        done
    fi
    while iptables -w -t nat -D "${LEAVING[@]}" 2>/dev/null; do :; done
    ! ip link show "$BRIDGE" >/dev/null 2>&1 || ip link del "$BRIDGE"
}
