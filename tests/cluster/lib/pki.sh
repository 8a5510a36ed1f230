# Keys and certificates of the components, and a kubeconfig for each that calls the API server.
# shellcheck shell=bash

authority() { # name
    [ ! -f "$PKI/$1.crt" ] || return 0
    key "$1"
    openssl req -x509 -new -key "$PKI/$1.key" -days 365 -subj "/CN=$1" -out "$PKI/$1.crt"
}

certificate() { # name subject authority usage [names]
    [ ! -f "$PKI/$1.crt" ] || return 0
    key "$1"
    openssl req -new -key "$PKI/$1.key" -subj "$2" -out "$PKI/$1.csr"
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$3.crt" -CAkey "$PKI/$3.key" -CAcreateserial -days 365 -out "$PKI/$1.crt" \
        -extfile <(echo "extendedKeyUsage=$4" && [ -z "${5:-}" ] || echo "subjectAltName=$5") 2>/dev/null
    rm "$PKI/$1.csr"
}

key() { (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key"); }

kubeconfig() { # name
    [ ! -f "$STATE/$1.kubeconfig" ] || return 0
    # Certificates are in the file itself: it can be copied and mounted.
    (umask 077 && cat >"$STATE/$1.kubeconfig") <<Y
apiVersion: v1
kind: Config
clusters: [{name: ckrv, cluster: {server: "$API", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}}]
contexts: [{name: ckrv, context: {cluster: ckrv, user: $1}}]
current-context: ckrv
Y
}

pki() {
    local service=kubernetes.default.svc name
    mkdir -p "$PKI"
    authority ca
    authority front-ca
    certificate apiserver /CN=kube-apiserver ca serverAuth \
        "IP:$NODE_IP,IP:$API_IP,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local"
    certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet ca clientAuth
    certificate front-proxy /CN=front-proxy front-ca clientAuth
    certificate kubelet-server "/CN=$NODE" ca serverAuth "DNS:$NODE,IP:$NODE_IP"
    certificate admin /O=system:masters/CN=admin ca clientAuth
    certificate controller-manager /CN=system:kube-controller-manager ca clientAuth
    certificate scheduler /CN=system:kube-scheduler ca clientAuth
    certificate proxy /CN=system:kube-proxy ca clientAuth
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" ca clientAuth
    # Service account tokens: any key pair does.
    [ -f "$PKI/accounts.key" ] || key accounts
    for name in admin controller-manager scheduler proxy kubelet; do
        kubeconfig "$name"
    done
}
