# Images come from files: the node pulls from nowhere.
# shellcheck shell=bash disable=SC2154

OWN=(pause coredns busybox)
MADE=$(cd "$here/../.." && pwd)/target/cluster/images

load() { # tar…
    local file
    for file in "$@"; do
        ctr images import "$file" >/dev/null
    done
}

load_own_images() {
    local name loaded
    own_images
    loaded=$(ctr images ls -q)
    for name in "${OWN[@]}"; do
        grep -qx "localhost/ckrv-$name:dev" <<<"$loaded" || load "$MADE/$name.tar"
    done
}

# Each as its own file, made anew when what is in it has changed.
own_images() {
    local context=$MADE/context name
    mkdir -p "$context"
    cp -u "$(command -v busybox)" "$BIN/coredns" "$context/"
    for name in "${OWN[@]}"; do
        [ -z "$(find "$context" "$here/images" -newer "$MADE/$name.tar" -type f 2>&1)" ] ||
            "$here/../../scripts/image" "localhost/ckrv-$name:dev" "$MADE/$name.tar" \
                --file "$here/images/Dockerfile" --target "$name" "$context"
    done
}
