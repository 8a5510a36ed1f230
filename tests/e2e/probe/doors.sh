# Tells of each NAME=ADDRESS:PORT whether the door opens, of each NAME=ADDRESS:PORT/PATH which status is answered to
# somebody without credentials, and whether a name can be looked up; then it waits for somebody to come in at port 8000.

tell() {
    local name=${1%%=*} at=${1#*=} path='' status
    case $at in */*) path=/${at#*/} at=${at%%/*} ;; esac
    if ! exec 3<>"/dev/tcp/${at%:*}/${at##*:}"; then
        echo "$name shut"
    elif [ -z "$path" ]; then
        echo "$name open"
    else
        printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$path" "$at" >&3
        read -r _ status _ <&3
        echo "$name $status"
    fi
} 2>/dev/null

# A door that is shut may take all the time that there is to open.
knock() { timeout 4 bash "$0" --tell "$1" || echo "${1%%=*} shut"; }

if [ "$1" = --tell ]; then
    tell "$2"
    exit
fi
for door; do
    knock "$door" &
done
if timeout 4 getent hosts kubernetes.default.svc >/dev/null; then echo "names open"; else echo "names shut"; fi
wait
node -e 'require("net").createServer(visitor => visitor.on("error", () => {}).end()).listen(8000, () => console.log("at home"))' &
for _ in {1..600}; do
    [ ! -e /tmp/visited ] || break
    sleep 0.1
done
kill $!
