# etcd, the API server, and the two that make its objects true.
# shellcheck shell=bash disable=SC2034

COMPONENTS=(containerd etcd apiserver controller-manager scheduler policies kubelet proxy)

start_component() { "start_${1//-/_}"; }

start_etcd() {
    start etcd "$DEVKUBE" etcd --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
}

start_apiserver() {
    # Who wrote what, for those who count it.
    cat >"$STATE/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules:
  - {level: None, verbs: [get, list, watch]}
  - {level: None, userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]}
  - {level: None, users: ["system:kube-scheduler", "system:kube-controller-manager", "system:apiserver"]}
  - {level: Metadata}
Y
    start apiserver "$DEVKUBE" kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
        --bind-address="$NODE_IP" --advertise-address="$NODE_IP" --secure-port=6443 --service-cluster-ip-range="$SERVICES" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
        --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
        --audit-policy-file="$STATE/audit.yaml" --audit-log-path="$LOGS/audit.log" --audit-log-maxsize=100 --audit-log-maxbackup=1 \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$PKI/accounts.key" --service-account-signing-key-file="$PKI/accounts.key" \
        --requestheader-client-ca-file="$PKI/front-ca.crt" --requestheader-allowed-names=front-proxy \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key"
}

# What belongs to thousands of deleted objects goes in minutes: by default it asks the API server 20 times a second.
start_controller_manager() {
    start controller-manager "$DEVKUBE" kube-controller-manager --kubeconfig="$STATE/controller-manager.kubeconfig" \
        --service-account-private-key-file="$PKI/accounts.key" --root-ca-file="$PKI/ca.crt" \
        --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1 \
        --kube-api-qps=100 --kube-api-burst=200
}

start_scheduler() {
    start scheduler "$DEVKUBE" kube-scheduler --kubeconfig="$STATE/scheduler.kubeconfig" --leader-elect=false \
        --bind-address=127.0.0.1
}

start_control_plane() {
    start_etcd
    start_apiserver
    start_controller_manager
    start_scheduler
    wait_for 120 "the API server" kube get --raw /readyz
}

stop_control_plane() {
    local name
    for name in scheduler controller-manager apiserver etcd; do
        stop "$name"
    done
}
