# Looks for secrets in all that its user can read: files, the environments and the memory of processes, and whether the
# model's proxy serves somebody without a key. What is found is told by its place, never by its value.
#
#   search.sh WANTED BAIT OUT     extended regular expression and a text that it fits, in Base64: as they are, the search
#                                 would find itself

export LC_ALL=C
wanted=$(base64 -d <<<"$1") bait=$(base64 -d <<<"$2") out=$3
mkdir -p "$out" "$HOME/bait"

# What must be found, or the search is worth nothing: in a file, an environment, a memory.
echo "x $bait x" >"$HOME/bait/file"
BAIT=$bait sleep 300 &
baited=$!

memory() {
    local range rights rest from to
    while read -r range rights rest; do
        from=$((16#${range%-*})) to=$((16#${range#*-}))
        # Above all that a file can have is a page of the kernel's.
        case $rights in r*) [ "$from" -lt 0 ] || dd if="/proc/$1/mem" bs=4096 skip=$((from / 4096)) count=$(((to - from) / 4096)) ;; esac
    done <"/proc/$1/maps"
}

env >"$out/environment"
for folder in /proc/[0-9]*; do
    pid=${folder#/proc/} name=$(cat "$folder/comm")
    echo "$name: $(tr '\0' ' ' <"$folder/cmdline")" >>"$out/processes"
    # This one knows what it looks for.
    [ "$pid" != $$ ] || continue
    [ ! -r "$folder/environ" ] || ! grep -aqE "$wanted" "$folder/environ" || echo "environment of $name" >>"$out/found"
    # That a memory was read at all is seen by a word that every process of ckrv's knows.
    case $(memory "$pid" | grep -aoE "$wanted|ckrv" | sort -u) in
        '') ;;
        ckrv) echo "$name" >>"$out/remembering" ;;
        *) echo "memory of $name" >>"$out/found" ;;
    esac
done 2>/dev/null
find / \( -path /proc -o -path /sys \) -prune -o -type f -readable -print0 2>/dev/null |
    xargs -0 grep -alE "$wanted" 2>/dev/null >>"$out/found"
find /run /var/run /ckrv -maxdepth 3 2>/dev/null >"$out/folders"
kill "$baited"

ask() { # header
    local proxy=${ANTHROPIC_BASE_URL#http://} status
    exec 3<>"/dev/tcp/${proxy%:*}/${proxy##*:}"
    printf 'POST /v1/messages HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 2\r\nConnection: close\r\n\r\n{}' "$proxy" "$1" >&3
    read -r _ status _ <&3
    echo "$status"
}
{
    ask ''
    ask $'x-api-key: sk-ant-of-somebody-else\r\n'
    ask "x-api-key: $ANTHROPIC_API_KEY"$'\r\n'
} >"$out/proxy"
