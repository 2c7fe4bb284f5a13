#!/bin/sh
# Makes what ./run.sh needs: passwords in secrets/, the two server sections of configs/corec_config.json, and, without Docker, an
# environment in .venv, a password for this machine's Redis, database and role in its PostgreSQL.  What is there stays as it is:
# run it as often as you like.
#
#   ./setup.sh                       with Docker where its engine answers
#   COREC_DOCKER=no ./setup.sh       without
#   PGHOST=... PGUSER=... PGPASSWORD=... ./setup.sh     another way to PostgreSQL's administrator than `sudo -u postgres`
set -eu
cd "$(dirname "$0")"
. deploy/common.sh

config=configs/corec_config.json
setting() { python3 deploy/sections.py "$config" secrets --get "$1"; }
# Whether a server is on this machine, and its password in the file that was made for it: HOST SECTION FILE.
is_ours() {
    case $1 in localhost | 127.0.0.1 | ::1) [ "$(setting "$2.password_file")" = "../secrets/$3" ] ;; *) return 1 ;; esac
}

environment() {
    [ -z "${COREC_PYTHON:-}" ] || return 0
    make --silent build
    say ".venv: CoreC is in it"
}

redis() {
    host=$(setting redis_config.host) port=$(setting redis_config.port)
    is_ours "$host" redis_config redis || { say "Redis on $host: left as it is"; return; }
    command -v redis-cli >/dev/null || { say "Redis: no redis-cli here, left out; HINT: apt-get install redis-server"; return; }
    password=$(cat secrets/redis)
    case $(redis-cli -h "$host" -p "$port" ping 2>&1) in
    PONG)
        printf 'CONFIG SET requirepass "%s"\n' "$(printf %s "$password" | sed 's/[\\"]/\\&/g')" | redis-cli -h "$host" -p "$port" >/dev/null
        say "Redis on $host:$port: wants the password of secrets/redis from now on"
        [ "$(REDISCLI_AUTH=$password redis-cli -h "$host" -p "$port" config rewrite 2>&1)" = OK ] ||
            say "    until it is started again: put 'requirepass' into its configuration"
        ;;
    NOAUTH*)
        [ "$(REDISCLI_AUTH=$password redis-cli -h "$host" -p "$port" --no-auth-warning ping 2>&1)" = PONG ] ||
            { say "Redis on $host:$port has another password than secrets/redis; HINT: write it into that file"; return 1; }
        say "Redis on $host:$port: takes the password of secrets/redis"
        ;;
    *) say "Redis on $host:$port does not answer, left out; HINT: sudo systemctl start redis-server" ;;
    esac
}

administrator() {
    set -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname postgres
    if [ -n "${PGUSER:-}" ]; then
        "$@"
    elif [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- "$@"
    else
        sudo -u postgres "$@"
    fi
}

quoted() { printf %s "$1" | sed "s/'/''/g; s/\\\\/\\\\\\\\/g"; }

database() {
    host=$(setting db_config.host) port=$(setting db_config.port)
    is_ours "$host" db_config db_writer || { say "PostgreSQL on $host: left as it is"; return; }
    command -v psql >/dev/null || { say "PostgreSQL: no psql here, left out; HINT: apt-get install postgresql"; return; }
    cd / # where the user postgres may be
    PGPORT=${PGPORT:-$port} administrator <<EOF || { say "PostgreSQL on port $port: not changed; HINT: is it running? see the top of $0"; return 1; }
\\set dbname '$(quoted "$dbname")'
\\set role '$(quoted "$role")'
\\set password '$(quoted "$password")'
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'role', :'password') \\gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'dbname', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'dbname') \\gexec
EOF
    cd "$here"
    say "PostgreSQL on port $port: $role has the password of secrets/db_writer, $dbname is there"
}

# Tables and the other roles, where this CoreC has the command.
tables() {
    "$python" -m corec db --help >/dev/null 2>&1 || return 0
    "$python" -m corec db init
}

here=$PWD
python3 deploy/sections.py "$config" secrets
if [ -n "$(compose)" ]; then
    say "Docker answers: the containers bring the rest.  Next: ./run.sh"
    exit
fi
dbname=$(setting db_config.dbname) role=$(setting db_config.user) password=$(cat secrets/db_writer)
environment
redis
database
tables
say "Next: ./run.sh"
