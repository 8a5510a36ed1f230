# Cluster DNS, as every cluster has it.
# shellcheck shell=bash disable=SC2154

dns() {
    kube apply --server-side --force-conflicts -f "$here/manifests/coredns.yaml" >/dev/null
    kube --namespace kube-system rollout status deployment/coredns --timeout=60s
}
