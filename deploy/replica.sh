#!/bin/sh
# A PostgreSQL that follows another:  replica.sh PASSWORD_FILE HOST PORT [OPTION OF postgres]...
# The folder $PGDATA is filled from there at the first start, and only then.
set -eu
PGPASSWORD=$(cat "$1")
export PGPASSWORD
host=$2 port=$3
shift 3
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    pg_basebackup --host "$host" --port "$port" --username corec_replica --pgdata "$PGDATA" --wal-method stream --write-recovery-conf
fi
exec postgres -D "$PGDATA" "$@"
