#!/bin/sh
# Joins Redis servers into a cluster, once:  cluster.sh PASSWORD_FILE HOST:PORT...   Half of them become replicas.
set -eu
REDISCLI_AUTH=$(cat "$1")
export REDISCLI_AUTH
shift
ask() { redis-cli -h "${1%:*}" -p "${1##*:}" --no-auth-warning cluster info 2>/dev/null | tr -d '\r'; }

for node in "$@"; do
    tries=0
    until ask "$node" | grep -q '^cluster_enabled:1\|^cluster_state:'; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { echo "[Cluster] expected a Redis with cluster-enabled at $node, got no answer for 60 s" >&2; exit 1; }
        sleep 0.5
    done
done
if ask "$1" | grep -q "^cluster_known_nodes:$#\$"; then
    echo "[Cluster] $# nodes know one another already"
else
    redis-cli --no-auth-warning --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi
