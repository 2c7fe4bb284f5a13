#!/bin/sh
# Starts CoreC; what runs already is restarted.  With Docker where its engine answers: corec, celery, redis and postgres of
# docker-compose.yml.  Without: the service that systemd runs, else a process of its own beside this script.
#
#   ./run.sh [OPTION OF corec run]...     as ./run.sh --embedded
#   ./run.sh stop
#   COREC_DOCKER=no ./run.sh              without Docker
#   COMPOSE_PROFILES=cluster,replica ./run.sh     with both profiles of docker-compose.yml
set -eu
cd "$(dirname "$0")"
. deploy/common.sh

LONGEST_STOP=30

with_docker() {
    if [ "${1:-}" = stop ]; then
        $compose stop
        return
    fi
    [ -d secrets ] || ./setup.sh
    ran=$($compose ps --quiet corec)
    $compose up --detach --build
    # What ran goes on with the plugins it has, where its image and settings are as before.
    [ -z "$ran" ] || $compose restart --timeout "$LONGEST_STOP" corec celery
    say "logs: $compose logs --follow corec"
}

# Whether the process of a file of run/ is alive, and the one that was started.
is_up() { [ -s "run/$1.pid" ] && grep -qz "$2" "/proc/$(cat "run/$1.pid")/cmdline" 2>/dev/null; }

stop_one() { # NAME WORD OF ITS COMMAND LINE
    is_up "$@" || { rm -f "run/$1.pid"; return 0; }
    kill -TERM "$(cat "run/$1.pid")"
    waited=0
    while is_up "$@"; do
        [ "$waited" -lt $((LONGEST_STOP * 10)) ] || { say "$1 does not stop: process $(cat "run/$1.pid")"; exit 1; }
        waited=$((waited + 1))
        sleep 0.1
    done
    rm -f "run/$1.pid"
    say "$1 stopped"
}

start_one() { # NAME COMMAND...
    name=$1
    shift
    mkdir -p run
    said=$(cat "run/$name.log" 2>/dev/null | wc -l)
    nohup setsid "$@" </dev/null >>"run/$name.log" 2>&1 &
    echo $! >"run/$name.pid"
}

# Until the node itself answers, with its ledger; where it ends instead, its last words and its code.
wait_until_it_answers() {
    until "$python" -m corec status --json 2>/dev/null | grep -q "\"pid\": $!\>.*\"ledger\""; do
        is_up corec corec || { tail -n "+$((said + 1))" run/corec.log; code=0; wait "$!" || code=$?; exit "$code"; }
        sleep 0.2
    done
    say "corec runs: $python -m corec status; its log is run/corec.log"
}

without_docker() {
    if systemctl is-active --quiet corec 2>/dev/null; then
        case ${1:-} in stop) sudo systemctl stop corec ;; *) sudo systemctl restart corec ;; esac
        return
    fi
    share_passwords
    [ -x "$python" ] || COREC_DOCKER=no ./setup.sh
    stop_one celery workers
    stop_one corec corec
    [ "${1:-}" != stop ] || return 0
    start_one corec "$python" -m corec run "$@"
    wait_until_it_answers
    if grep -q '"celery_config"' configs/corec_config.json; then
        start_one celery "$python" -m corec workers
        say "celery runs: its log is run/celery.log"
    fi
}

compose=$(compose)
if [ -n "$compose" ]; then with_docker "$@"; else without_docker "$@"; fi
