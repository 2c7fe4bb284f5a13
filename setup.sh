#!/bin/sh
# Makes what ./run.sh needs: passwords in secrets/, the two server sections of configs/corec_config.json, and, without Docker, an
# environment in .venv, a password for this machine's Redis, database and roles in its PostgreSQL.  What is there stays as it is:
# run it as often as you like.
#
#   ./setup.sh                       with Docker where its engine answers
#   COREC_DOCKER=no ./setup.sh       without
#   PGUSER=... PGPASSWORD=... ./setup.sh     who may make databases and roles, where it is not `sudo -u postgres`
set -eu
PATH=$PATH:/usr/sbin:/sbin # runuser, which the path of `su` may lack
cd "$(dirname "$0")"
. deploy/common.sh

config=configs/corec_config.json
left= # sections whose passwords are not known yet
setting() { python3 deploy/sections.py "$config" secrets --get "$1"; }
# Whether a server is on this machine, and its password in the file that was made for it: HOST SECTION FILE.
is_ours() {
    case $1 in localhost | 127.0.0.1 | ::1) [ "$(setting "$2.password_file")" = "../secrets/$3" ] ;; *) return 1 ;; esac
}

# A server has a password already, which nobody has told yet: it stays, and the rest goes on.  One that was told, and is wrong, is
# an error: WHAT FILE SECTION.
has_another() {
    say "$1 has another password than $2: left as it is; HINT: write it into that file, or into $3 of $config"
    grep -qxE '[0-9a-f]{48}' "$2" || exit 1
    left="$left $3"
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
            { has_another "Redis on $host:$port" secrets/redis redis_config; return; }
        say "Redis on $host:$port: takes the password of secrets/redis"
        ;;
    *) say "Redis on $host:$port does not answer, left out; HINT: sudo systemctl start redis-server" ;;
    esac
}

# Gives PostgreSQL's administrator the password of secrets/db_admin, as `sudo -u postgres` may, unless it is so already.
administrator() {
    PGPASSWORD=$(cat secrets/db_admin) psql --no-psqlrc --host "$1" --port "$2" --username postgres --no-password --command '\q' 2>/dev/null && return
    [ "$(id -u)" = 0 ] && as="runuser -u postgres --" || as="sudo -u postgres"
    has=$(cd / && $as psql --no-psqlrc --port "$2" --tuples-only --no-align \
        --command "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'postgres'") ||
        { say "PostgreSQL on port $2: no way in as postgres; HINT: is it running? else PGUSER, PGPASSWORD: see the top of $0"; return 1; }
    [ "$has" = f ] || { has_another "PostgreSQL's postgres" secrets/db_admin db_config; return; }
    printf "\\\\set password '%s'\nALTER ROLE postgres PASSWORD :'password';\n" "$(sed "s/'/''/g; s/\\\\/&&/g" secrets/db_admin)" |
        (cd / && $as psql --no-psqlrc --quiet --port "$2")
    say "PostgreSQL on port $2: postgres has the password of secrets/db_admin"
}

# Database, tables and roles.
database() {
    host=$(setting db_config.host)
    COREC_DB_ADMIN_PASSWORD=${PGPASSWORD:-}
    if [ -z "${PGUSER:-}" ]; then
        is_ours "$host" db_config db_writer || { say "PostgreSQL on $host: left as it is; HINT: corec db init"; return; }
        command -v psql >/dev/null || { say "PostgreSQL: no psql here, left out; HINT: apt-get install postgresql"; return; }
        administrator "$host" "$(setting db_config.port)"
        [ "$left" = "${left#*db_config}" ] || return 0
        COREC_DB_ADMIN_PASSWORD=$(cat secrets/db_admin)
    fi
    COREC_DB_READER_PASSWORD=$(cat secrets/db_reader)
    export COREC_DB_ADMIN_PASSWORD COREC_DB_READER_PASSWORD
    "$python" -m corec db init --admin "${PGUSER:-postgres}"
}

python3 deploy/sections.py "$config" secrets
if [ -n "$(compose)" ]; then
    say "Docker answers: the containers bring the rest.  Next: ./run.sh"
    exit
fi
environment
redis
database
if [ -n "$left" ]; then
    say "Next: the passwords of these servers in$left of $config, then ./run.sh; ./setup.sh once more makes what is missing"
    exit
fi
say "Next: ./run.sh"
