#!/bin/sh
# In PostgreSQL's image, at the first start: a role that a replica copies by (profile `replica`).
set -eu
password=$(cat "${COREC_SECRETS:-/run/secrets}/db_replica")
psql --set=ON_ERROR_STOP=1 --set=password="$password" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'EOF'
CREATE ROLE corec_replica LOGIN REPLICATION PASSWORD :'password';
EOF
echo "host replication corec_replica all scram-sha-256" >> "$PGDATA/pg_hba.conf"
