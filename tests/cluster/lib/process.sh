# Long-running processes, each known by a file with its pid and start time: a pid alone may be another's by now.
# shellcheck shell=bash

started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# runs NAME: prints its pid.
runs() {
    local pid at
    read -r pid at 2>/dev/null <"$RUN/$1.pid" || return 1
    [ "$(started_at "$pid")" = "$at" ] || return 1
    # What ended and was not yet waited for does not run.
    ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 1
    echo "$pid"
}

everything_runs() {
    local name
    for name in "${COMPONENTS[@]}"; do
        runs "$name" >/dev/null || return 1
    done
}

# start NAME COMMAND…: unless it runs. In a session of its own, so that the terminal's signals pass it by.
start() {
    local name=$1 open fd
    shift
    ! runs "$name" >/dev/null || return 0
    mkdir -p "$LOGS" "$RUN"
    { close_all_files && exec setsid "$@"; } >>"$LOGS/$name.log" 2>&1 </dev/null &
    echo "$! $(started_at $!)" >"$RUN/$name.pid"
}

# But the three streams: a lock, of this script or of who called it, is held as long as anybody has it open.
close_all_files() {
    local file
    for file in /proc/"$BASHPID"/fd/*; do
        file=${file##*/}
        [ "$file" -le 2 ] || eval "exec $file>&-"
    done
}

# stop NAME: returns when it has ended, so that its ports are free again.
stop() {
    local pid
    pid=$(runs "$1") || return 0
    kill "$pid"
    if ! wait_for 5 "" not_running "$1" 2>/dev/null; then
        kill -9 "$pid" 2>/dev/null || true
        wait_for 10 "the end of $1" not_running "$1"
    fi
    rm -f "$RUN/$1.pid"
}

not_running() { ! runs "$1"; }
