#!/bin/sh
# A Redis with the password of a file, which no list of processes shows:  redis.sh PASSWORD_FILE [OPTION OF redis-server]...
set -eu
password=$(cat "$1")
shift
exec redis-server - "$@" <<EOF
requirepass $password
masterauth $password
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
EOF
