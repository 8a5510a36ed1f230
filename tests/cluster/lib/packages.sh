# The Debian packages that a node consists of, besides Kubernetes itself.
# shellcheck shell=bash

NEEDED=(containerd runc containernetworking-plugins iptables nftables iproute2 busybox-static buildah openssl)

packages() {
    local missing=() package
    for package in "${NEEDED[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    apt-get update -qq
    # Debian starts what it installs; the cluster runs a containerd of its own.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
