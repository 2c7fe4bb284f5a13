#!/bin/sh
# What an image of CoreC starts its command by.  Docker restarts whatever fails, so what no restart puts right must not look
# like a failure: usage (2), configuration (3), RAM (5), a node that runs already (6), a lost fence (8), a plugin (10).
set -u

case $(uname -m) in
aarch64) : "${COREC_WORKERS:=2}" ;; # a Pi: two of four cores, the others for the node and the servers
*) : "${COREC_WORKERS:=}" ;;        # as the configuration says
esac
export COREC_WORKERS
# For a configuration that wants it within something longer, as "redis://:${COREC_REDIS_PASSWORD}@...".
[ ! -r secrets/redis ] || { COREC_REDIS_PASSWORD=$(cat secrets/redis) && export COREC_REDIS_PASSWORD; }

"$@" &
child=$!
trap 'kill -TERM "$child"' TERM INT
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
done

case $code in
2 | 3 | 5 | 6 | 8 | 10)
    echo "[Entrypoint] $1 ended with $code, which no restart puts right: not restarted" >&2
    exit 0
    ;;
esac
exit "$code"
