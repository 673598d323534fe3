#!/usr/bin/env bash
# Runs a whole herd on this machine: the servers of a topology file, and a stand-in for Twitter.
#
# A process is ours if it executes herd and its standard error is our NAME.err: a pid file left behind
# never makes us signal a stranger, and a process that has lost its pid file is given a new one. How a
# link is, its last line in NAME.err says. Needs bash 4, awk, grep, coreutils, util-linux (flock, setsid)
# and Linux's /proc.
set -euo pipefail
shopt -s nullglob

usage() {
    cat <<'END'
Usage: ./run_herd.sh [COMMAND]

  start      build herd, start what is not running, wait until every link is up (the default)
  stop       stop everything that was started
  status     show every process and its links; returns 0 only if all run
  restart    stop, then start
  reload     have the servers that run apply what has changed in the topology file
  --help     show this

In the environment:
  TOPOLOGY        who is in the herd, and where           (topology.txt beside this script)
  LOG_DIR         logs, pid files NAME.pid and standard error NAME.err     (logs beside it)
  DATA_DIR        the servers' journals: their memory                      (data beside it)
  KEYS            yes: make a key for each server, and encrypt links (in DATA_DIR/keys)
  TWITTER_URL     the search to ask; with it, no stand-in is started
  TWITTER_API     which API is spoken: 1.0, 1.1 or 2                                  (1.0)
  TWITTER_CREDENTIALS  a private file with TWITTER_BEARER_TOKEN=..., or TWITTER_KEY=... and
                  TWITTER_SECRET=..., for 1.1 and 2; or these themselves
  TWITTER_LISTEN  where the stand-in listens                              (127.0.0.1:12599)
  HERD_BIN        a herd built already; with it, nothing is built
  START_SECONDS   how long to wait until every link is up                              (30)
END
}

main() {
    [[ $# -le 1 ]] || misused "one command at a time"
    settings
    case ${1-start} in
        start) start_herd ;;
        stop) stop_herd ;;
        status) show_status ;;
        restart) restart_herd ;;
        reload) reload_herd ;;
        -h | --help | help) usage ;;
        *) misused "unknown command '$1'" ;;
    esac
}

# Starts what is missing and waits until all of it is up; undoes its own part if that fails.
start_herd() {
    local id running="" missing=""
    read_topology
    lock
    find_lost
    for id in $(everyone); do
        if running_pid "$id" >/dev/null; then running+=" $id"; else missing+=" $id"; fi
    done
    for id in $running; do require_same_settings "$id"; done
    if [[ -z $missing ]]; then
        say "The herd is already running:$running"
        return 0
    fi
    build
    make_keys
    trap 'INTERRUPTED=yes' INT TERM HUP # looked at between steps, so that no child goes unnoticed
    trap roll_back EXIT
    [[ -z $running ]] || say "Already running:$running"
    send_signal HUP "${running/ twitter.stand-in/}" # those that are to start may be new neighbours
    say "Starting:$missing"
    for id in $missing; do launch "$id"; done
    wait_until_up
    trap - INT TERM HUP EXIT
    [[ -n $STAND_IN ]] || running_pid twitter.stand-in >/dev/null ||
        rm -f -- "$LOG_DIR/twitter.stand-in.pid"
    show_welcome
}

# Stops all that has a pid file, also those that the topology file no longer names.
stop_herd() {
    local file ids=""
    lock
    find_lost
    for file in "$LOG_DIR"/*.pid; do file=${file##*/} ids+=" ${file%.pid}"; done
    ids=$(still_running "$ids")
    stop_these "$ids"
    rm -f -- "$LOG_DIR"/*.pid
    if [[ -n $ids ]]; then say "Stopped:$ids"; else say "The herd with its logs in $LOG_DIR is not running"; fi
}

# Has every server that runs read the topology anew, and prints what it says of that; returns 1 if one finds
# a mistake.
reload_herd() {
    local id ids before tries said result=0
    read_topology
    lock
    find_lost
    ids=$(still_running "$NAMES")
    [[ -n $ids ]] || die "no server runs"
    if [[ -n $KEY_DIR ]]; then build && make_keys; fi
    for id in $ids; do
        before=$(reloads_of "$id" | wc -l)
        send_signal HUP "$id"
        for ((tries = 0; tries < 100; tries++)); do
            said=$(reloads_of "$id" | tail -n "+$((before + 1))")
            [[ -z $said ]] || break
            sleep 0.1
        done
        say "${said:-$id has said nothing of the reload for 10 s}"
        [[ $said == *": reloaded "* ]] || result=1
    done
    return "$result"
}

# Prints what a server has said of reloads.
reloads_of() {
    grep -aE '^[^ ]+: (not )?reloaded' -- "$LOG_DIR/$1.err" || true
}

# Stops only when what is to start instead is at hand.
restart_herd() {
    read_topology
    lock
    build
    stop_herd
    start_herd
}

# Shows one line a process; returns 1 unless all run.
show_status() {
    local id pid addresses result=0
    read_topology
    find_lost
    # Whether there is a stand-in was said at the start: it left a pid file, or servers have theirs.
    set -- "$LOG_DIR"/*.pid
    if [[ -e $LOG_DIR/twitter.stand-in.pid ]]; then
        STAND_IN=twitter.stand-in
    elif [[ $# -gt 0 ]]; then
        STAND_IN=""
    fi
    table_row server pid clients servers uptime links
    for id in $(everyone); do
        addresses=("${CLIENTS[$id]-$(listening_address "$id")}" "${SERVERS[$id]--}")
        if pid=$(running_pid "$id"); then
            table_row "$id" "$pid" "${addresses[@]}" "$(uptime_of "$id")" "$(link_states "$id")"
        else
            table_row "$id" - "${addresses[@]}" - "not running"
            result=1
        fi
    done
    return "$result"
}

# --- What we were asked for ---

# Reads the environment. Paths become absolute, as they tell one herd's processes from another's.
settings() {
    ROOT=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
    TOPOLOGY=$(realpath -m -- "${TOPOLOGY:-$ROOT/topology.txt}")
    LOG_DIR=$(realpath -m -- "${LOG_DIR:-$ROOT/logs}")
    DATA_DIR=$(realpath -m -- "${DATA_DIR:-$ROOT/data}")
    KEY_DIR="" KEYED=$TOPOLOGY
    case ${KEYS:-no} in
        no) ;;
        yes) KEY_DIR=$DATA_DIR/keys KEYED=$DATA_DIR/keys/topology.txt ;;
        *) misused "KEYS is yes or no" ;;
    esac
    umask 077 # logs and journals say where everybody is
    TWITTER_LISTEN=${TWITTER_LISTEN:-127.0.0.1:12599}
    STAND_IN=twitter.stand-in # a server's name has no dot
    [[ -z ${TWITTER_URL:-} ]] || STAND_IN="" # show_status goes by what was started
    local path
    case ${TWITTER_API:-1.0} in
        1.0) path=/search.json ;;
        1.1) path=/1.1/search/tweets.json ;;
        2) path=/2/tweets/search/recent ;;
        *) misused "TWITTER_API is none of 1.0, 1.1, 2" ;;
    esac
    TWITTER_URL=${TWITTER_URL:-http://$TWITTER_LISTEN$path}
    TWITTER=(--twitter-url "$TWITTER_URL")
    [[ -z ${TWITTER_API:-} ]] || TWITTER+=(--twitter-api "$TWITTER_API")
    [[ -z ${TWITTER_CREDENTIALS:-} ]] ||
        TWITTER+=(--twitter-credentials "$(realpath -m -- "$TWITTER_CREDENTIALS")")
    START_SECONDS=${START_SECONDS:-30} STOP_SECONDS=10
    [[ $START_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || misused "START_SECONDS is no number of seconds"
    LOCKED="" STARTED="" INTERRUPTED=""
}

# Reads the topology file into NAMES, CLIENTS, SERVERS and LINKS; the rest herd judges itself.
read_topology() {
    local line name client server neighbours other number=0
    declare -gA CLIENTS=() SERVERS=() LINKS=()
    NAMES=""
    [[ -f $TOPOLOGY && -r $TOPOLOGY ]] || die "cannot read the topology file $TOPOLOGY"
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $number -gt 0 ]] || line=${line#$'\xef\xbb\xbf'} # a byte order mark
        number=$((number + 1)) line=${line%%#*}
        read -r name client server neighbours <<<"${line//[$'\r\f\v']/ }"
        [[ -n $name ]] || continue
        [[ $name =~ ^[A-Za-z0-9_-]{1,64}$ && -n $server && -z ${CLIENTS[$name]-} ]] ||
            die "$TOPOLOGY, line $number: wanted are a new name, a client and a server address"
        NAMES+=" $name" CLIENTS[$name]=$client SERVERS[$name]=$server
        for other in $neighbours; do
            [[ $other != *=* ]] || continue # an attribute
            [[ "${LINKS[$name]-} " == *" $other "* ]] || LINKS[$name]+=" $other"
            [[ "${LINKS[$other]-} " == *" $name "* ]] || LINKS[$other]+=" $name"
        done
    done <"$TOPOLOGY"
    [[ -n $NAMES ]] || die "$TOPOLOGY names no server"
}

# Prints who is to run.
everyone() {
    echo "$STAND_IN$NAMES"
}

# Sets ARGUMENTS to what herd is called with.
herd_arguments() {
    case $1 in
        *.*) ARGUMENTS=(twitter --listen "$TWITTER_LISTEN") ;;
        *) ARGUMENTS=(serve "$1" --topology "$KEYED" --log-dir "$LOG_DIR" --data-dir "$DATA_DIR"
            "${TWITTER[@]}")
            [[ -z $KEY_DIR ]] || ARGUMENTS+=(--key "$KEY_DIR/$1.key") ;;
    esac
}

# --- Processes ---

# Prints the pid of a process of ours; returns 1 if it does not run.
running_pid() {
    local pid=""
    [[ -r $LOG_DIR/$1.pid ]] || return 1
    read -r pid <"$LOG_DIR/$1.pid" || true
    [[ $pid =~ ^[0-9]+$ ]] && is_ours "$1" "$pid" || return 1
    echo "$pid"
}

# Returns whether a process is what we run under this name: its executable, which an update may have
# deleted since, is herd by its name, and its standard error is the file that we gave it.
is_ours() {
    local program err
    program=$(readlink -- "/proc/$2/exe" 2>/dev/null) && err=$(readlink -- "/proc/$2/fd/2" 2>/dev/null) || return 1
    err=${err% (deleted)}
    [[ ${program##*/} == herd* && ${err%.old} == "$LOG_DIR/$1.err" ]]
}

# Gives a process of ours that has lost its pid file a new one.
find_lost() {
    local file pid id
    for file in $(grep -laE 'serve|twitter' /proc/[0-9]*/cmdline 2>/dev/null || true); do
        pid=${file#/proc/} pid=${pid%/*}
        id=$(readlink -- "/proc/$pid/fd/2" 2>/dev/null) || continue
        id=${id% (deleted)} id=${id%.old}
        [[ $id == "$LOG_DIR"/*.err ]] || continue
        id=${id#"$LOG_DIR/"} id=${id%.err}
        [[ $id == twitter.stand-in || $id != *[./]* ]] || continue
        if ! running_pid "$id" >/dev/null && is_ours "$id" "$pid"; then
            complain "$id runs as pid $pid, its pid file was lost; here it is again"
            own_log_dir
            echo "$pid" >"$LOG_DIR/$id.pid"
            touch -r "/proc/$pid" -- "$LOG_DIR/$id.pid" || true # as old as the process
        fi
    done
}

# Prints where the stand-in listens: as it was told, or will be.
listening_address() {
    local pid command=""
    ! pid=$(running_pid "$1") || command=$(command_line "$pid")
    command=${command##* --listen }
    command=${command%% *}
    echo "${command:-$TWITTER_LISTEN}"
}

# Prints a process's command line, a space after each argument; nothing if the process has ended.
command_line() {
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true
}

# Prints which of these run.
still_running() {
    local id
    for id in $1; do ! running_pid "$id" >/dev/null || printf ' %s' "$id"; done
}

# Dies if what runs was started for another topology or another Twitter.
require_same_settings() {
    herd_arguments "$1"
    local command
    command=$(command_line "$(running_pid "$1")")
    [[ $command == *" ${ARGUMENTS[*]} " ]] ||
        die "$1 is already running, with other settings (${command% }): 'restart' starts it with these"
}

# Makes LOG_DIR. In a folder of others, or that others may write, a link of theirs could lead what we write
# to any file of ours.
own_log_dir() {
    mkdir -p -- "$LOG_DIR"
    [[ -O $LOG_DIR && -z $(find "$LOG_DIR" -maxdepth 0 -perm /022) ]] ||
        die "others may write in LOG_DIR ($LOG_DIR): take a folder that is yours, or chmod go-w it"
}

# Lets one run_herd.sh at a time change what runs; the lock goes when the process goes.
lock() {
    [[ -z $LOCKED ]] || return 0
    own_log_dir
    exec 9>>"$LOG_DIR/.lock"
    if ! flock -n 9; then
        say "Waiting for another run_herd.sh to finish"
        flock 9
    fi
    LOCKED=yes
}

# With KEYS=yes: makes keys that are missing, and a topology that has them.
make_keys() {
    local line name rest
    [[ -n $KEY_DIR ]] || return 0
    mkdir -p -- "$KEY_DIR"
    for name in $NAMES; do
        [[ -e $KEY_DIR/$name.key && -e $KEY_DIR/$name.pub ]] && continue
        rm -f -- "$KEY_DIR/$name.key"
        "$HERD" keygen --out "$KEY_DIR/$name.key" >"$KEY_DIR/$name.pub" || die "no key for $name"
    done
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line#$'\xef\xbb\xbf'} line=${line%%#*}
        read -r name rest <<<"${line//[$'\r\f\v']/ }"
        [[ -z $name ]] || echo "$name $rest $(<"$KEY_DIR/$name.pub")"
    done <"$TOPOLOGY" >"$KEYED.new"
    mv -f -- "$KEYED.new" "$KEYED"
}

# Sets HERD to a binary that is up to date. Cargo keeps quiet unless something is wrong.
build() {
    if [[ -n ${HERD_BIN:-} ]]; then
        HERD=$(realpath -m -- "$HERD_BIN")
    else
        command -v cargo >/dev/null || die "cargo is not installed: see https://rustup.rs"
        HERD=$(cd "$ROOT" && realpath -m -- "${CARGO_TARGET_DIR:-target}/release/herd")
        [[ -x $HERD && -z $(find "$ROOT"/{Cargo.*,src} -newer "$HERD" -print -quit) ]] ||
            say "Building, which may take some minutes"
        (cd "$ROOT" && cargo build --release --quiet 9>&-) || die "the build failed"
    fi
    [[ -f $HERD && -x $HERD ]] || die "$HERD is no program"
}

# Starts one process, in a session of its own so that it outlives this terminal.
launch() {
    local id=$1 err=$LOG_DIR/$1.err tries
    [[ -z $INTERRUPTED ]] || die "interrupted"
    herd_arguments "$id"
    [[ ! -e $err ]] || mv -f -- "$err" "$err.old"
    STARTED+=" $id"
    (
        cd "$ROOT" && echo "$BASHPID" >"$LOG_DIR/$id.pid"
        exec setsid "$HERD" "${ARGUMENTS[@]}" </dev/null
    ) >>"$err" 2>&1 9>&- &
    disown "$!" 2>/dev/null || true # so that bash says nothing of it if we must kill it
    for ((tries = 0; tries < 500; tries++)); do # until it has become herd, or failed to
        if running_pid "$id" >/dev/null || ! kill -0 "$!" 2>/dev/null; then break; fi
        sleep 0.01
    done
}

# Waits until everyone listens and every link is up; dies if a process ends, or at the deadline.
wait_until_up() {
    local deadline=$((SECONDS + START_SECONDS)) told=$SECONDS waiting
    while true; do
        [[ -z $INTERRUPTED ]] || die "interrupted"
        require_all_running
        waiting=$(not_up_yet)
        [[ -n $waiting ]] || return 0
        ((SECONDS < deadline)) || die "not up within $START_SECONDS s:$waiting; see $LOG_DIR/*.err"
        if ((SECONDS >= told + 2)); then
            say "Waiting for$waiting"
            told=$SECONDS
        fi
        sleep 0.1
    done
}

# Dies with the last words of those that ended; they name the port if that was the trouble.
require_all_running() {
    local id words ended=""
    for id in $(everyone); do
        # In the moment in which a process becomes another program it has no command line.
        { running_pid "$id" || { sleep 0.1 && running_pid "$id"; }; } >/dev/null && continue
        words=$(tail -n 1 -- "$LOG_DIR/$id.err" 2>/dev/null) && [[ -n $words ]] || words="it said nothing"
        complain "$id ended: ${words#herd: }"
        ended+=" $id"
    done
    [[ -z $ended ]] || die "the herd is not up, for want of$ended"
}

# Stops what a start that failed has started.
roll_back() {
    trap '' INT TERM HUP
    [[ -z $STARTED ]] || stop_these "$STARTED"
}

# SIGTERM, and SIGKILL for those that do not heed it.
stop_these() {
    local left
    send_signal TERM "$1"
    left=$(left_after "$STOP_SECONDS" "$1")
    if [[ -n $left ]]; then
        complain "not stopped within $STOP_SECONDS s, so killed:$left"
        send_signal KILL "$left"
        left=$(left_after 5 "$left")
    fi
    [[ -z $left ]] || die "cannot be stopped:$left"
    for left in $1; do rm -f -- "$LOG_DIR/$left.pid"; done
}

send_signal() {
    local id pid
    for id in $2; do
        if pid=$(running_pid "$id"); then kill -s "$1" "$pid" || true; fi
    done
}

# Waits so many seconds for processes to end; prints those that have not.
left_after() {
    local tries left=$2
    for ((tries = 0; tries < $1 * 10; tries++)); do
        left=$(still_running "$left")
        [[ -n $left ]] || return 0
        sleep 0.1
    done
    echo "$left"
}

# --- What is up ---

# Prints what a process says is up: its neighbours, and '.' once it listens.
says_up() {
    awk '
        $2 == "link" && $3 == "to" && $5 == "is" { up[$4] = $6 == "up"; next }
        ($2 == "clients" || $2 == "listening") && $3 == "on" { up["."] = 1 }
        END { for (who in up) if (up[who]) printf " %s", who; print " " }
    ' "$LOG_DIR/$1.err" 2>/dev/null || true
}

# Prints who does not listen yet, and which links are not up at both ends, each once.
not_up_yet() {
    local id other up link waiting=""
    for id in $(everyone); do
        up=$(says_up "$id")
        [[ $up == *" . "* ]] || waiting+=" $id"
        for other in ${LINKS[$id]-}; do
            if [[ $id < $other ]]; then link=$id-$other; else link=$other-$id; fi
            [[ $up == *" $other "* || "$waiting " == *" $link "* ]] || waiting+=" $link"
        done
    done
    echo "$waiting"
}

# Prints which links of a running server are up, and which are down.
link_states() {
    local other said up="" down=""
    said=$(says_up "$1")
    for other in ${LINKS[$1]-}; do
        if [[ $said == *" $other "* ]]; then up+=" $other"; else down+=" $other"; fi
    done
    echo "${up:+up:$up}${up:+${down:+, }}${down:+down:$down}"
}

# Prints how long a process has run: its pid file is as old.
uptime_of() {
    local s=$(($(date +%s) - $(stat -c %Y -- "$LOG_DIR/$1.pid")))
    printf '%dh%02dm%02ds' $((s / 3600)) $((s / 60 % 60)) $((s % 60))
}

# --- What we say ---

# Prints where clients connect, and something to try.
show_welcome() {
    local name first="" radius_km=100
    say "The herd is up, its logs are in $LOG_DIR, its memory in $DATA_DIR. Clients connect to"
    for name in $NAMES; do
        first=${first:-$name}
        say "  $name ${CLIENTS[$name]}"
    done
    say "Tell one server where kiwi is, then ask another:"
    say "  echo IAMAT kiwi +34.068930-118.445127 \$(date +%s.%N) | $(nc_to "$first")"
    [[ ${TWITTER_API:-} != 2 ]] || radius_km=40 # it takes less than 25 miles
    say "  echo WHATSAT kiwi $radius_km 2 | $(nc_to "$name")"
}

# Prints how to talk to a server with netcat, an IPv6 host without its brackets.
nc_to() {
    local host=${CLIENTS[$1]%:*}
    host=${host#[}
    echo "nc -N ${host%]} ${CLIENTS[$1]##*:}"
}

table_row() { printf '%-16s %-8s %-21s %-21s %-10s %s\n' "$@"; }
say() { printf '%s\n' "$*"; }
complain() { printf 'run_herd.sh: %s\n' "$*" >&2; }
die() { complain "$*"; exit 1; }
misused() { complain "$*"; usage >&2; exit 2; }

main "$@"
