# shellcheck shell=sh
# What setup.sh and run.sh share.

say() { echo "[${0##*/}] $*"; }

# The Python that has CoreC: COREC_PYTHON, or the environment that setup.sh makes.
# shellcheck disable=SC2034
python=${COREC_PYTHON:-$PWD/.venv/bin/python}

# The compose command of a Docker whose engine answers; empty without one, or with COREC_DOCKER=no.
compose() {
    [ "${COREC_DOCKER:-yes}" != no ] && docker info >/dev/null 2>&1 || return 0
    if docker compose version >/dev/null 2>&1; then
        echo "docker compose"
    elif command -v docker-compose >/dev/null; then
        echo docker-compose
    fi
}

# For a configuration that wants it within something longer, as "redis://:${COREC_REDIS_PASSWORD}@...".
share_passwords() {
    [ ! -r secrets/redis ] || { COREC_REDIS_PASSWORD=$(cat secrets/redis) && export COREC_REDIS_PASSWORD; }
}
