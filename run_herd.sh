#!/usr/bin/env bash
# Runs a whole herd on this machine: the servers of a topology file, and a stand-in for Twitter.
#
# A process is ours if it executes herd and its standard error is our NAME.err: /proc tells both, so no
# stranger is ever signalled. The pid files are for others to read. Whether a server is ready, and how its
# links are, its lines in NAME.err say. Needs bash 4, coreutils, findutils, util-linux, procps, awk, grep.
set -euo pipefail
shopt -s nullglob

usage() {
    cat <<'END'
Usage: ./run_herd.sh [COMMAND [NAME]] [-- OPTION...]

  start      build herd, start what is not running, wait until every link is up (the default)
  stop       stop everything that was started
  restart    stop, then start
  upgrade    build herd and replace the program, one server after the other; nothing is lost
  reload     have the servers apply what has changed in the topology file
  status     show every process and its links; returns 0 only if all run

With NAME only that server. Options after -- go to each herd serve that is started.

In the environment: TOPOLOGY, LOG_DIR, DATA_DIR, KEYS (yes encrypts links), TWITTER_URL (then no stand-in is started), TWITTER_API,
TWITTER_CREDENTIALS, TWITTER_LISTEN, HERD_BIN, START_SECONDS: see docs/CONFIGURATION.md.
END
}

main() {
    local command=start
    ONLY="" OPTIONS=()
    if [[ $# -gt 0 && $1 != -- ]]; then command=$1 && shift; fi
    if [[ $# -gt 0 && $1 != -- ]]; then ONLY=$1 && shift; fi
    if [[ $# -gt 0 && $1 == -- ]]; then OPTIONS=("${@:2}") && set --; fi
    [[ $# -eq 0 ]] || misused "one command, one NAME"
    settings
    case $command in
        start) start_herd ;;
        stop) lock; stop_herd ;;
        restart) read_topology; lock; build; stop_herd; start_herd ;; # stops when what is to start is at hand
        upgrade) upgrade_herd ;;
        reload) reload_herd ;;
        status) show_status ;;
        -h | --help | help) usage ;;
        *) misused "unknown command '$command'" ;;
    esac
}

# Starts what is missing and waits until all of it is up; undoes its own part if that fails.
start_herd() {
    local id running="" missing=""
    read_topology; lock; scan
    for id in ${ONLY:-$STAND_IN $NAMES}; do
        if [[ -n ${PIDS[$id]-} ]]; then require_same_settings "$id"; running+=" $id"; else missing+=" $id"; fi
    done
    [[ -n $missing ]] || { say "The herd is already running:$running" && return 0; }
    build
    make_keys
    trap 'INTERRUPTED=yes' INT TERM HUP # looked at between steps, so that no child goes unnoticed
    trap roll_back EXIT
    [[ -z $running ]] || say "Already running:$running"
    signal HUP "${running/ twitter.stand-in/}" # those that are to start may be new neighbours
    say "Starting:$missing"
    for id in $missing; do herd_arguments "$id"; launch "$id"; done
    wait_until_up
    trap - INT TERM HUP EXIT
    [[ -n $ONLY ]] || show_welcome
}

# Stops what runs, also servers that the topology file no longer names.
stop_herd() {
    scan
    local ids=" ${!PIDS[*]}"
    [[ -z $ONLY ]] || ids=${PIDS[$ONLY]:+ $ONLY}
    stop_these "$ids"
    if [[ -n ${ids# } ]]; then say "Stopped:$ids"; else say "The herd with its logs in $LOG_DIR is not running"; fi
}

# Replaces the program of each process in turn. It has its arguments again, unless there are others. Each is
# ready, so knows what its neighbours know, and linked before the next is stopped.
upgrade_herd() {
    local id
    read_topology; lock; build; scan
    for id in ${ONLY:-$STAND_IN $NAMES}; do
        [[ -n ${PIDS[$id]-} ]] || continue
        [[ ! /proc/${PIDS[$id]}/exe -ef $HERD || ${#OPTIONS[@]} -gt 0 ]] ||
            { say "$id runs this program already" && continue; }
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
    local id before tries said result=0
    read_topology; lock; scan
    [[ -z $KEY_DIR ]] || { build; make_keys; }
    for id in ${ONLY:-$NAMES}; do
        [[ -n ${PIDS[$id]-} ]] || continue
        before=$(reloads_of "$id" | wc -l)
        signal HUP "$id"
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

reloads_of() { grep -aE '^([^ ]+ )?[^ ]+: (not )?reloaded' -- "$LOG_DIR/$1.err" || true; }

# Shows one line a process; returns 1 unless all run.
show_status() {
    local id pid result=0 listens up=""
    read_topology; scan
    # Whether there is a stand-in was said at the start: it runs, or servers do without one.
    [[ -n ${PIDS[twitter.stand-in]-} ]] || [[ ${#PIDS[@]} -eq 0 ]] || STAND_IN=""
    [[ -z ${PIDS[twitter.stand-in]-} ]] || STAND_IN=twitter.stand-in
    table_row server pid clients servers uptime links
    for id in ${ONLY:-$STAND_IN $NAMES}; do
        pid=${PIDS[$id]-} listens=${CLIENTS[$id]-$TWITTER_LISTEN} up="not running"
        if [[ -z $pid ]]; then
            result=1
        else
            up=$(link_states "$id")
            [[ $id != *.* ]] || listens=$(command_line "$pid" | awk '{ print $4 }')
        fi
        table_row "$id" "${pid:--}" "$listens" "${SERVERS[$id]--}" "$(uptime_of "$pid")" "$up"
    done
    return "$result"
}

# --- What we were asked for ---

# Reads the environment. Paths become absolute, as they tell one herd's processes from another's.
settings() {
    ROOT=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
    TOPOLOGY=$(realpath -m -- "${TOPOLOGY:-$ROOT/topology.txt}")
    LOG_DIR=$(realpath -m -- "${LOG_DIR:-$ROOT/logs}") DATA_DIR=$(realpath -m -- "${DATA_DIR:-$ROOT/data}")
    KEY_DIR="" KEYED=$TOPOLOGY
    case ${KEYS:-no} in
        no) ;;
        yes) KEY_DIR=$DATA_DIR/keys KEYED=$DATA_DIR/keys/topology.txt ;;
        *) misused "KEYS is yes or no" ;;
    esac
    umask 077 # logs and journals say where everybody is
    TWITTER_LISTEN=${TWITTER_LISTEN:-127.0.0.1:12599}
    STAND_IN=twitter.stand-in # a server's name has no dot
    [[ -z ${TWITTER_URL:-} ]] || STAND_IN=""
    local -A paths=([1.0]=search.json [1.1]=1.1/search/tweets.json [2]=2/tweets/search/recent)
    local path=${paths[${TWITTER_API:-1.0}]-}
    [[ -n $path ]] || misused "TWITTER_API is none of 1.0, 1.1, 2"
    TWITTER=(--twitter-url "${TWITTER_URL:-http://$TWITTER_LISTEN/$path}")
    [[ -z ${TWITTER_API:-} ]] || TWITTER+=(--twitter-api "$TWITTER_API")
    [[ -z ${TWITTER_CREDENTIALS:-} ]] || TWITTER+=(--twitter-credentials "$(realpath -m -- "$TWITTER_CREDENTIALS")")
    START_SECONDS=${START_SECONDS:-30} STOP_SECONDS=10 STARTED="" INTERRUPTED="" LOCKED=""
    [[ $START_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || misused "START_SECONDS is no number of seconds"
    declare -gA CHILDREN=()
}

# Reads the topology file into NAMES, CLIENTS, SERVERS, HTTP and LINKS; the rest herd judges itself.
read_topology() {
    local line name client server rest other number=0
    declare -gA CLIENTS=() SERVERS=() HTTP=() LINKS=()
    NAMES="" WIDTH=16
    [[ -f $TOPOLOGY && -r $TOPOLOGY ]] || die "cannot read the topology file $TOPOLOGY"
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $number -gt 0 ]] || line=${line#$'\xef\xbb\xbf'} # a byte order mark
        number=$((number + 1)) line=${line%%#*}
        read -r name client server rest <<<"${line//[$'\r\f\v']/ }"
        [[ -n $name ]] || continue
        [[ $name =~ ^[A-Za-z0-9_-]{1,64}$ && -n $server && -z ${CLIENTS[$name]-} ]] ||
            die "$TOPOLOGY, line $number: wanted are a new name, a client and a server address"
        NAMES+=" $name" CLIENTS[$name]=$client SERVERS[$name]=$server WIDTH=$((${#name} > WIDTH ? ${#name} : WIDTH))
        for other in $rest; do
            [[ $other != http=* ]] || HTTP[$name]=${other#http=}
            [[ $other != *=* ]] || continue # an attribute
            [[ "${LINKS[$name]-} " == *" $other "* ]] || LINKS[$name]+=" $other"
            [[ "${LINKS[$other]-} " == *" $name "* ]] || LINKS[$other]+=" $name"
        done
    done <"$TOPOLOGY"
    [[ -n $NAMES ]] || die "$TOPOLOGY names no server"
    [[ -z $ONLY || -n ${CLIENTS[$ONLY]-} || $ONLY == "$STAND_IN" ]] || die "$TOPOLOGY names no server $ONLY, only:$NAMES"
}

# Sets ARGUMENTS to what herd is called with.
herd_arguments() {
    ARGUMENTS=(serve "$1" --topology "$KEYED" --log-dir "$LOG_DIR" --data-dir "$DATA_DIR" "${TWITTER[@]}")
    [[ -z $KEY_DIR ]] || ARGUMENTS+=(--key "$KEY_DIR/$1.key")
    ARGUMENTS+=("${OPTIONS[@]}")
    [[ $1 != *.* ]] || ARGUMENTS=(twitter --listen "$TWITTER_LISTEN")
}

# --- Processes ---

# Sets PIDS to our processes. An update may have deleted the program of one, and somebody its standard error.
scan() {
    local file pid err id
    declare -gA PIDS=()
    while read -r file err; do
        err=${err% (deleted)} err=${err%.old} pid=${file#/proc/} pid=${pid%%/*}
        id=${err#"$LOG_DIR/"} id=${id%.err}
        [[ $err == "$LOG_DIR/$id.err" && ($id == twitter.stand-in || $id != *[./]*) ]] || continue
        file=$(readlink -- "/proc/$pid/exe" 2>/dev/null) || continue
        file=${file% (deleted)}
        [[ ${file##*/} != herd* ]] || PIDS[$id]=$pid
    done < <(find /proc/[0-9]*/fd/2 -maxdepth 0 -printf '%p %l\n' 2>/dev/null)
}

# Prints a process's command line, a space after each argument.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# Prints how long a process has run.
uptime_of() { if [[ -n $1 ]]; then ps -o etime= -p "$1" | tr -d ' '; else echo -; fi; }

# Dies if what runs was started for another topology or another Twitter.
require_same_settings() {
    local command
    herd_arguments "$1" && command=$(command_line "${PIDS[$1]}")
    [[ $command == *" ${ARGUMENTS[*]} "* ]] ||
        die "$1 is already running, with other settings (${command% }): 'restart' starts it with these"
}

# Makes LOG_DIR, and lets one run_herd.sh at a time change what runs; the lock goes when the process goes. In a
# folder of others, or that others may write, a link of theirs could lead what we write to any file of ours.
lock() {
    [[ -z $LOCKED ]] || return 0
    mkdir -p -- "$LOG_DIR"
    [[ -O $LOG_DIR && -z $(find "$LOG_DIR" -maxdepth 0 -perm /022) ]] ||
        die "others may write in LOG_DIR ($LOG_DIR): take a folder that is yours, or chmod go-w it"
    exec 9>>"$LOG_DIR/.lock"
    flock -n 9 || { say "Waiting for another run_herd.sh to finish" && flock 9; }
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

# Sets HERD to a binary that is up to date. Cargo shows its progress if there is something to build.
build() {
    if [[ -n ${HERD_BIN:-} ]]; then
        HERD=$(realpath -m -- "$HERD_BIN")
    else
        command -v cargo >/dev/null || die "cargo is not installed: see https://rustup.rs"
        HERD=$(cd "$ROOT" && realpath -m -- "${CARGO_TARGET_DIR:-target}/release/herd")
        local quiet=--quiet
        [[ -x $HERD && -z $(find "$ROOT"/{Cargo.*,src} -newer "$HERD" -print -quit) ]] || quiet=""
        (cd "$ROOT" && cargo build --release ${quiet:+"$quiet"} 9>&-) || die "the build failed"
    fi
    [[ -f $HERD && -x $HERD ]] || die "$HERD is no program"
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
    until scan; [[ -n ${PIDS[$id]-} ]] || has_ended "$id"; do sleep 0.05; done
}

# Whether a process that we have started is no more.
has_ended() { ! kill -0 "${CHILDREN[$1]}" 2>/dev/null; }

# Waits until all that was started is up; dies if one ends, or at the deadline.
wait_until_up() {
    local deadline=$((SECONDS + START_SECONDS)) told=$SECONDS waiting
    while true; do
        [[ -z $INTERRUPTED ]] || die "interrupted"
        scan
        require_all_running
        waiting=$(not_up_yet)
        [[ -n $waiting ]] || return 0
        ((SECONDS < deadline)) || die "not up within $START_SECONDS s:$waiting; see $LOG_DIR/*.err"
        ((SECONDS < told + 2)) || { say "Waiting for$waiting" && told=$SECONDS; }
        sleep 0.1
    done
}

# Dies with the last words of those that ended; they name the port if that was the trouble.
require_all_running() {
    local id words ended=""
    for id in $STARTED; do
        has_ended "$id" || continue
        words=$(tail -n 1 -- "$LOG_DIR/$id.err" 2>/dev/null) && [[ -n $words ]] || words="it said nothing"
        complain "$id ended: ${words#herd: }$(user_of_port "$words")"
        ended+=" $id"
    done
    [[ -z $ended ]] || die "the herd is not up, for want of$ended"
}

# Prints which process has the port that is said to be in use, where that can be known.
user_of_port() {
    [[ $1 =~ :([0-9]+):.*in\ use ]] || return 0
    ss -Hltnp "sport = :${BASH_REMATCH[1]}" 2>/dev/null | sed -n 's/.*users:((\([^)]*\),fd.*/, by \1/p;q' || true
}

# Stops what a start that failed has started.
roll_back() {
    trap '' INT TERM HUP
    scan
    stop_these "$STARTED"
}

# SIGTERM, and SIGKILL for those that do not heed it.
stop_these() {
    local id
    signal TERM "$1"
    left_after "$STOP_SECONDS" "$1"
    [[ -z $LEFT ]] || complain "not stopped within $STOP_SECONDS s, so killed:$LEFT"
    signal KILL "$LEFT"
    left_after 5 "$LEFT"
    [[ -z $LEFT ]] || die "cannot be stopped:$LEFT"
    for id in $1; do rm -f -- "$LOG_DIR/$id.pid"; done
}

signal() {
    local id
    for id in $2; do [[ -z ${PIDS[$id]-} ]] || kill -s "$1" "${PIDS[$id]}" 2>/dev/null || true; done
}

# Waits so many seconds for processes to end; sets LEFT to those that have not.
left_after() {
    local tries id
    for ((tries = 0; tries <= $1 * 20; tries++)); do
        LEFT=""
        [[ -z $2 ]] || scan
        for id in $2; do [[ -z ${PIDS[$id]-} ]] || LEFT+=" $id"; done
        [[ -n $LEFT ]] || return 0
        sleep 0.05
    done
}

# --- What is up ---

# Prints what a process says is up: its neighbours, and '.' once it serves.
says_up() {
    awk '{ sub(/^[0-9T:.-]+Z /, "") } # the time
        $2 == "link" && $3 == "to" && $5 == "is" { up[$4] = $6 == "up" }
        $2 == "ready:" || $2 == "listening" { up["."] = 1 }
        END { for (who in up) if (up[who]) printf " %s", who; print " " }' "$LOG_DIR/$1.err" 2>/dev/null || true
}

# Prints who does not serve yet, and which links between those that run are not up at both ends, each once.
not_up_yet() {
    local id other up link waiting=""
    for id in "${!PIDS[@]}"; do
        up=$(says_up "$id")
        [[ $up == *" . "* || "$STARTED " != *" $id "* ]] || waiting+=" $id"
        for other in ${LINKS[$id]-}; do
            if [[ $id < $other ]]; then link=$id-$other; else link=$other-$id; fi
            [[ -z ${PIDS[$other]-} || $up == *" $other "* || "$waiting " == *" $link "* ]] || waiting+=" $link"
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

# --- What we say ---

# Prints where clients connect, and something to try.
show_welcome() {
    local name first="" radius_km=100
    say "The herd is up, its logs are in $LOG_DIR, its memory in $DATA_DIR. Clients connect to"
    for name in $NAMES; do
        first=${first:-$name}
        say "  $name ${CLIENTS[$name]}"
    done
    [[ -z ${HTTP[$first]-} ]] || say "The live page: http://${HTTP[$first]}/"
    [[ ${TWITTER_API:-} != 2 ]] || radius_km=40 # it takes less than 25 miles
    say "Tell one server where kiwi is, then ask another:"
    say "  echo IAMAT kiwi +34.068930-118.445127 \$(date +%s.%N) | $(nc_to "$first")"
    say "  echo WHATSAT kiwi $radius_km 2 | $(nc_to "$name")"
}

# Prints how to talk to a server with netcat, an IPv6 host without its brackets.
nc_to() {
    local host=${CLIENTS[$1]%:*}
    host=${host#[}
    echo "nc -N ${host%]} ${CLIENTS[$1]##*:}"
}

table_row() { printf "%-${WIDTH}s %-8s %-21s %-21s %-10s %s\n" "$@"; }
say() { printf '%s\n' "$*"; }
complain() { printf 'run_herd.sh: %s\n' "$*" >&2; }
die() { complain "$*"; exit 1; }
misused() { complain "$*: ./run_herd.sh --help shows how"; exit 2; }

main "$@"
