# What a node runs: containerd, kubelet and kube-proxy.
# shellcheck shell=bash

# shellcheck disable=SC2032,SC2033
ctr() { command ctr --address "$CONTAINERD" --namespace k8s.io "$@"; }

start_containerd() {
    mkdir -p "$RUN"
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE a negative score is refused.
    cat >"$STATE/containerd.toml" <<C
version = 2
root = "$STATE/containerd"
state = "$RUN/containerd"
[grpc]
  address = "$CONTAINERD"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/ckrv-pause:dev"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$STATE/plugins"
    conf_dir = "$STATE/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
C
    start containerd containerd --config "$STATE/containerd.toml"
    wait_for 30 "containerd" ctr version
}

start_kubelet() {
    # failCgroupV1: not every machine has version 2 yet. The thresholds let a developer's full disk pass.
    cat >"$STATE/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix://$CONTAINERD
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $STATE/resolv.conf
failSwapOn: false
makeIPTablesUtilChains: false
maxPods: 250
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
serializeImagePulls: false
kubeAPIQPS: 100
kubeAPIBurst: 200
podLogsDir: $STATE/pod-logs
volumePluginDir: $STATE/volume-plugins
C
    start kubelet "$DEVKUBE" kubelet --kubeconfig="$STATE/kubelet.kubeconfig" --config="$STATE/kubelet.yaml" \
        --root-dir="$STATE/kubelet" --hostname-override="$NODE" --node-ip="$NODE_IP"
}

# The machine's own connection tracking and loopback stay as they are.
start_proxy() {
    start proxy "$DEVKUBE" kube-proxy --kubeconfig="$STATE/proxy.kubeconfig" --hostname-override="$NODE" \
        --cluster-cidr="$PODS" --proxy-mode=iptables --conntrack-max-per-core=0 \
        --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 \
        --iptables-localhost-nodeports=false --nodeport-addresses="$NODE_IP/32" \
        --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

start_node() {
    start_policies
    start_kubelet
    start_proxy
    wait_for 60 "node $NODE to register" kube get node "$NODE"
    kube wait --for=condition=Ready "node/$NODE" --timeout=60s
}

stop_node() {
    stop proxy
    stop kubelet
    stop policies
}

# Containers outlive kubelet and containerd by design; here they end with the cluster.
stop_containerd() {
    if runs containerd >/dev/null; then
        # Sandboxes last: the shim of a pod ends with its sandbox.
        ctr tasks ls -q | xargs -r -n1 -P4 ctr --address "$CONTAINERD" --namespace k8s.io tasks rm --force >/dev/null 2>&1 || true
    fi
    stop containerd
    local shim
    for shim in $(shims); do
        kill -9 "$shim" 2>/dev/null || true
    done
    wait_for 10 "the end of the pods" no_containers
    find /sys/fs/cgroup -depth -mindepth 2 -path '*/kubepods*' -type d -exec rmdir {} + 2>/dev/null || true
}

# The processes that hold our pods, known by our containerd's address.
shims() {
    local words
    for words in /proc/[0-9]*/cmdline; do
        ! tr '\0' ' ' 2>/dev/null <"$words" | grep -q "containerd-shim.* -address $CONTAINERD " || basename "$(dirname "$words")"
    done
}

no_containers() { [ -z "$(shims)" ] && ! find /sys/fs/cgroup -path '*/kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | grep -q .; }
