#!/usr/bin/env bash
# Usage: ./run_herd.sh [COMMAND [NAME]] [-- OPTION...]
#
# Runs a whole herd on this machine: the servers of a topology file, and a stand-in for Twitter.
#
#   start      build herd, start what is not running, wait until every link is up (the default)
#   stop       stop everything that was started
#   restart    stop, then start
#   upgrade    build herd and replace the program, one server after the other; nothing is lost
#   reload     have the servers apply what has changed in the topology file
#   status     show every process, its state and its links; returns 0 only if all run
#
# With NAME only that server. Options after -- go to each herd serve that is started, or to herd status.
#
# In the environment: TOPOLOGY, LOG_DIR, DATA_DIR, KEYS (yes encrypts links), TWITTER_URL (then no stand-in is started),
# TWITTER_API, TWITTER_CREDENTIALS, TWITTER_LISTEN, HERD_BIN, START_SECONDS: see docs/CONFIGURATION.md.

# A process is ours if it executes herd and its standard error is our NAME.err: /proc tells both, so no
# stranger is ever signalled. The pid files are for others to read. Who is in the herd 'herd check' says, and
# how its links are 'herd status'. Needs bash 4, coreutils, findutils, util-linux, procps, grep, sed.
set -euo pipefail
shopt -s nullglob

main() {
    local command=start
    ONLY="" OPTIONS=()
    if [[ $# -gt 0 && $1 != -- ]]; then command=$1 && shift; fi
    if [[ $# -gt 0 && $1 != -- ]]; then ONLY=$1 && shift; fi
    if [[ $# -gt 0 && $1 == -- ]]; then OPTIONS=("${@:2}") && set --; fi
    [[ $# -eq 0 ]] || misused "one command, one NAME"
    settings
    case $command in
        start) prepare; start_herd ;;
        stop) lock; stop_herd ;;
        restart) prepare; stop_herd || true; start_herd ;; # stops when what is to start is at hand
        upgrade) prepare; upgrade_herd ;;
        reload) read_topology; lock; make_keys; reload_herd ;;
        status) read_topology; show_status ;;
        -h | --help | help) sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
        *) misused "unknown command '$command'" ;;
    esac
}

# Starts what is missing and waits until all of it is up; undoes its own part if that fails.
start_herd() {
    local id running="" missing="" MORE=""; scan
    for id in ${ONLY:-$STAND_IN $NAMES}; do
        if [[ -n ${PIDS[$id]-} ]]; then require_same_settings "$id"; running+=" $id"; else missing+=" $id"; fi
    done
    signal HUP "$NAMES" # those that are to start may be new neighbours of those that run
    [[ -n $missing ]] || { say "The herd is already running:$running" && return 0; }
    trap 'INTERRUPTED=yes' INT TERM HUP # looked at between steps, so that no child goes unnoticed
    trap 'trap "" INT TERM HUP; complain "so this is stopped again:$STARTED"; stop_these "$STARTED"' EXIT
    [[ -z $running ]] || say "Already running:$running"
    [[ -z $MORE ]] || complain "$MORE:$missing may want these too, after --"
    say "Starting:$missing"
    for id in $missing; do herd_arguments "$id"; launch "$id"; done
    wait_until_up
    trap - INT TERM HUP EXIT
    [[ -n $ONLY ]] || show_welcome
}

# Stops what runs, also servers that the topology file no longer names.
stop_herd() {
    scan
    local id lost="" ids=" ${!PIDS[*]}"
    [[ -z $ONLY ]] || ids=${PIDS[$ONLY]:+ $ONLY}
    stop_these "$ids"
    [[ -n ${ids# } ]] || { say "${ONLY:-The herd} is not running, or its logs are not in $LOG_DIR" && return 0; }
    say "Stopped:$ids"
    for id in $ids; do lost+=$(heard "$id" '.*could not be written to the end'); done
    [[ -z $lost ]] || { complain "$lost" && return 1; }
}

# Replaces the program of each process in turn. It has its arguments again, unless there are others. Each is
# ready, so knows what its neighbours know, and linked before the next is stopped.
upgrade_herd() {
    local id; scan
    for id in ${ONLY:-$STAND_IN $NAMES}; do
        [[ -n ${PIDS[$id]-} ]] || continue
        [[ /proc/${PIDS[$id]}/exe -ef $HERD && ${#OPTIONS[@]} -eq 0 ]] &&
            say "$id runs this program already" && continue
        say "Upgrading $id"
        herd_arguments "$id"
        [[ ${#OPTIONS[@]} -gt 0 ]] || mapfile -d '' -t ARGUMENTS < <(tail -zn +2 "/proc/${PIDS[$id]}/cmdline")
        stop_these "$id"
        launch "$id"
        wait_until_up
    done
}

# Has the servers that run read the topology anew, and prints what they say; returns 1 if one finds a mistake.
reload_herd() {
    local id before tries said result=0; scan
    for id in ${ONLY:-$NAMES}; do
        [[ -n ${PIDS[$id]-} ]] || continue
        before=$(heard "$id" '(not )?reloaded' | wc -l) said=""
        signal HUP "$id"
        for ((tries = 0; tries < 100 && ${#said} == 0; tries++)); do
            sleep 0.1
            said=$(heard "$id" '(not )?reloaded' | tail -n "+$((before + 1))")
        done
        say "${said:-$id has said nothing of the reload for 10 s}"
        [[ $said == *": reloaded "* ]] || result=1
    done
    return "$result"
}

# Shows a line for each process, then what the servers say of themselves; returns 1 unless all run.
show_status() {
    local id pid client server uptime others="" result=0 width=16; scan
    # Whether there is a stand-in was said at the start: it runs, or servers ask it, or they do without one.
    [[ ${#PIDS[@]} -eq 0 || -n ${PIDS[twitter.stand-in]-} ]] ||
        ps -o args= -p "${PIDS[*]}" | grep -qF -- "${TWITTER[1]}" || STAND_IN=""
    for id in "${!PIDS[@]}"; do [[ " twitter.stand-in $NAMES " == *" $id "* ]] || others+=" $id"; done
    for id in $NAMES $others; do ((${#id} <= width)) || width=${#id}; done
    row() { printf "%-${width}s  %-8s  %-21s  %-21s  %s\n" "$@"; }
    row PROCESS PID CLIENTS SERVERS UPTIME
    for id in ${ONLY:-$STAND_IN $NAMES $others}; do
        pid=${PIDS[$id]--} client=$TWITTER_LISTEN server=-
        [[ $id == *.* ]] || read -r _ client server _ < <(grep "^$id " <<<"$MEMBERS" || echo "$id removed removed")
        [[ $id != *.* || $pid == - ]] || client=$(ps -o args= -p "$pid") client=${client##* }
        uptime=$(ps -o etime= -p "$pid" 2>/dev/null | tr -d ' ') || { uptime="not running" && result=1; }
        row "$id" "$pid" "$client" "$server" "$uptime"
    done
    [[ ${#PIDS[@]} -eq 0 || $ONLY == *.* ]] ||
        { say && "$HERD" status --topology "$TOPOLOGY" "${OPTIONS[@]}" | grep -E "^(SERVER|${ONLY:-.*}) "; } || true
    return "$result"
}

# Reads the environment. Paths become absolute, as they tell one herd's processes from another's.
settings() {
    ROOT=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
    TOPOLOGY=$(realpath -m -- "${TOPOLOGY:-$ROOT/topology.txt}")
    LOG_DIR=$(realpath -m -- "${LOG_DIR:-$ROOT/logs}") DATA_DIR=$(realpath -m -- "${DATA_DIR:-$ROOT/data}")
    HERD=$(realpath -m -- "${HERD_BIN:-$(cd "$ROOT" && realpath -m -- "${CARGO_TARGET_DIR:-target}")/release/herd}")
    [[ ${HERD##*/} == herd* ]] || misused "the name of HERD_BIN must begin with herd: by it we know our processes"
    KEY_DIR="" KEYED=$TOPOLOGY
    [[ -n ${KEYS:-} || ! -e $DATA_DIR/keys/topology.txt ]] || KEYS=yes # who has keys keeps them until KEYS=no
    [[ ${KEYS:=no} == yes || $KEYS == no ]] || misused "KEYS is yes or no"
    [[ $KEYS == no ]] || KEY_DIR=$DATA_DIR/keys KEYED=$DATA_DIR/keys/topology.txt
    umask 077 # logs and journals say where everybody is
    TWITTER_LISTEN=${TWITTER_LISTEN:-127.0.0.1:12599}
    STAND_IN=twitter.stand-in # a server's name has no dot
    [[ -z ${TWITTER_URL:-} ]] || STAND_IN=""
    local -A paths=([1.0]=search.json [1.1]=1.1/search/tweets.json [2]=2/tweets/search/recent)
    local path=${paths[${TWITTER_API:-1.0}]-}; [[ -n $path ]] || misused "TWITTER_API is none of 1.0, 1.1, 2"
    TWITTER=(--twitter-url "${TWITTER_URL:-http://$TWITTER_LISTEN/$path}")
    [[ -z ${TWITTER_API:-} ]] || TWITTER+=(--twitter-api "$TWITTER_API")
    [[ -z ${TWITTER_CREDENTIALS:-} ]] || TWITTER+=(--twitter-credentials "$(realpath -m -- "$TWITTER_CREDENTIALS")")
    START_SECONDS=${START_SECONDS:-30} STOP_SECONDS=10 STARTED="" INTERRUPTED=""
    [[ $START_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || misused "START_SECONDS is no number of seconds"
    declare -gA CHILDREN=()
}

# What goes before a start: a program that takes the options, who is in the herd, nobody else who changes it, keys.
prepare() {
    build
    ((${#OPTIONS[@]} == 0)) || "$HERD" serve any "${OPTIONS[@]}" --help >/dev/null || exit 2
    read_topology; lock; make_keys
}

# Builds herd. Cargo shows its progress if there is something to build.
build() {
    if [[ -z ${HERD_BIN:-} ]]; then
        command -v cargo >/dev/null || die "cargo is not installed: see https://rustup.rs"
        local quiet=--quiet
        [[ -x $HERD && -z $(find "$ROOT"/{Cargo.*,src} -newer "$HERD" -print -quit) ]] || quiet=""
        (cd "$ROOT" && cargo build --release ${quiet:+"$quiet"}) || die "the build failed"
    fi
    [[ -f $HERD && -x $HERD ]] || die "$HERD is no program"
}

# Reads the topology as herd reads it: MEMBERS has a line for each server. Herd says what is wrong with it.
read_topology() {
    local name; [[ -x $HERD ]] || build
    MEMBERS=$("$HERD" check --list --topology "$TOPOLOGY") || [[ -n $MEMBERS ]] || exit 1
    NAMES=""
    while read -r name _; do NAMES+=" $name"; done <<<"$MEMBERS"
    [[ -z $ONLY || " $STAND_IN$NAMES " == *" $ONLY "* ]] || die "$TOPOLOGY names no server $ONLY, only:$NAMES"
}

# Makes LOG_DIR, and lets one run_herd.sh at a time change what runs; the lock goes when the process goes. In a
# folder of others, or that others may write, a link of theirs could lead what we write to any file of ours.
lock() {
    mkdir -p -- "$LOG_DIR"
    [[ -O $LOG_DIR && -z $(find "$LOG_DIR" -maxdepth 0 -perm /022) ]] ||
        die "others may write in LOG_DIR ($LOG_DIR): take a folder that is yours, or chmod go-w it"
    exec 9>>"$LOG_DIR/.lock"
    flock -n 9 || { say "Waiting for another run_herd.sh to finish" && flock 9; }
}

# With KEYS=yes: makes keys that are missing, and a topology that has them.
make_keys() { [[ -z $KEY_DIR ]] || "$HERD" keygen --topology "$TOPOLOGY" --out "$KEY_DIR" >/dev/null || exit 1; }

# Sets ARGUMENTS to what herd is called with.
herd_arguments() {
    ARGUMENTS=(serve "$1" --topology "$KEYED" --log-dir "$LOG_DIR" --data-dir "$DATA_DIR" "${TWITTER[@]}")
    [[ -z $KEY_DIR ]] || ARGUMENTS+=(--key "$KEY_DIR/$1.key")
    ARGUMENTS+=("${OPTIONS[@]}")
    [[ $1 != *.* ]] || ARGUMENTS=(twitter --listen "$TWITTER_LISTEN")
}

# Dies if what runs was started for another topology or another Twitter. Sets MORE if it has more options.
require_same_settings() {
    local command; herd_arguments "$1"
    command=$(tr '\0' ' ' <"/proc/${PIDS[$1]}/cmdline")
    [[ $command == *" ${ARGUMENTS[*]} "* ]] ||
        die "$1 is already running, with other settings (${command% }): 'restart' starts it with these"
    command=${command##*" ${ARGUMENTS[*]} "}
    [[ -z $command ]] || MORE="$1 has more options (${command% })"
}

# Sets PIDS to our processes. An update may have deleted the program of one, and somebody its standard error.
scan() {
    local pid err id exe
    declare -gA PIDS=()
    while read -r pid err; do
        pid=${pid//[!0-9]/} err=${err% (deleted)} err=${err%.old}
        id=${err#"$LOG_DIR/"} id=${id%.err}
        [[ $err == "$LOG_DIR/$id.err" && ($id == twitter.stand-in || $id != *[./]*) ]] || continue
        exe=$(readlink -- "/proc/$pid/exe" 2>/dev/null) || continue
        exe=${exe% (deleted)}
        [[ ${exe##*/} != herd* ]] || PIDS[$id]=$pid
    done < <(find /proc/[0-9]*/fd/2 -maxdepth 0 -printf '%h %l\n' 2>/dev/null)
}

# Starts one process with ARGUMENTS, in a session of its own so that it outlives this terminal. Waits until it has
# become herd or has ended, however long that takes on a busy machine: no scan sees it before.
launch() {
    local id=$1 err=$LOG_DIR/$1.err
    [[ -z $INTERRUPTED ]] || die "interrupted"
    [[ ! -e $err ]] || mv -f -- "$err" "$err.old"
    STARTED+=" $id"
    (cd "$ROOT" && exec setsid "$HERD" "${ARGUMENTS[@]}" </dev/null) >>"$err" 2>&1 9>&- &
    CHILDREN["$id"]=$!
    echo "$!" >"$LOG_DIR/$id.pid"
    disown "$!" 2>/dev/null || true # so that bash says nothing of it if we must kill it
    until scan; [[ -n ${PIDS[$id]-} ]] || ! kill -0 "$!" 2>/dev/null; do sleep 0.05; done
}

# Prints what a process has said on standard error that matches.
heard() { grep -asE "^([^ ]+ )?([^ ]+: )?$2" -- "$LOG_DIR/$1.err" || true; }

# Waits until all that was started serves, and until every link between those that run is up; dies if one ends, or at
# the deadline. A server is ready once it has caught up with its neighbours: that is enough where none tells of links.
wait_until_up() {
    local id other state waiting ended="" deadline=$((SECONDS + START_SECONDS)) told=$SECONDS
    while true; do
        [[ -z $INTERRUPTED ]] || die "interrupted"
        waiting=""
        scan
        for id in $STARTED; do
            kill -0 "${CHILDREN[$id]}" 2>/dev/null ||
                { complain "$id ended: $(last_words "$id")" && ended+=" $id"; }
            [[ -n $(heard "$id" '(ready: |listening )') ]] || waiting+=" $id"
        done
        [[ -z $ended ]] || die "the herd is not up, for want of$ended"
        while read -r id other state; do
            [[ -z ${PIDS[$id]-} || -z ${PIDS[$other]-} || $state == up || $state == unknown ]] || waiting+=" $id-$other"
        done < <("$HERD" status --links --topology "$TOPOLOGY")
        [[ -n $waiting ]] || return 0
        ((SECONDS < deadline)) || die "not up within $START_SECONDS s:$waiting; see $LOG_DIR/*.err"
        ((SECONDS < told + 2)) || { say "Waiting for$waiting" && told=$SECONDS; }
        sleep 0.1
    done
}

# Prints what a process has said last, and who has the port that it found in use, where that can be known.
last_words() {
    local words; words=$(tail -n 1 -- "$LOG_DIR/$1.err" 2>/dev/null) && [[ -n $words ]] || words="it said nothing"
    printf '%s' "${words#herd: }"
    [[ ! $words =~ :([0-9]+):.*in\ use ]] ||
        ss -Hltnp "sport = :${BASH_REMATCH[1]}" 2>/dev/null | sed -n 's/.*users:((\([^)]*\),fd.*/, by \1/p;q' || true
}

# Ends processes by SIGTERM, and those that do not heed it by SIGKILL.
stop_these() {
    local word tries id left=""
    for word in TERM KILL; do
        [[ -z $left ]] || complain "not stopped within $STOP_SECONDS s, so killed:$left"
        signal "$word" "$1"
        for ((tries = 0; tries <= STOP_SECONDS * 20; tries++)); do
            left=""
            for id in $1; do [[ -z ${PIDS[$id]-} ]] || left+=" $id"; done
            [[ -n $left ]] || break 2
            sleep 0.05
            scan
        done
    done
    [[ -z $left ]] || die "cannot be stopped:$left"
    for id in $1; do rm -f -- "$LOG_DIR/$id.pid"; done
}

# Signals those of these processes that run now.
signal() {
    local id; scan
    for id in $2; do [[ -z ${PIDS[$id]-} ]] || kill -s "$1" "${PIDS[$id]}" 2>/dev/null || true; done
}

# Prints where clients connect, and something to try.
show_welcome() {
    local name address first last http
    read -r _ first _ http _ <<<"$MEMBERS"
    read -r _ last _ <<<"${MEMBERS##*$'\n'}"
    first=${first//[][]/} last=${last//[][]/} # netcat wants an IPv6 host without its brackets
    say "The herd is up, its logs are in $LOG_DIR, its memory in $DATA_DIR. Clients connect to"
    while read -r name address _; do say "  $name $address"; done <<<"$MEMBERS"
    [[ $http != http=* ]] || say "The live page: http://${http#http=}/"
    say "Tell one server where kiwi is, then ask another:"
    say "  echo IAMAT kiwi +34.068930-118.445127 \$(date +%s.%N) | nc -N ${first%:*} ${first##*:}"
    say "  echo WHATSAT kiwi 40 2 | nc -N ${last%:*} ${last##*:}"
}

say() { printf '%s\n' "$*"; }
complain() { printf 'run_herd.sh: %s\n' "$*" >&2; }
die() { complain "$*"; exit 1; }
misused() { complain "$*: ./run_herd.sh --help shows how"; exit 2; }

main "$@"
