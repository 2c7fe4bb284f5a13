#!/bin/sh
# Writes into .env the digest that each image has under its tag in its registry:  deploy/digests.sh   Needs Docker with buildx.
# All are looked up before anything is written; what could not be looked up is named, and .env stays as it was.
set -eu
cd "$(dirname "$0")/.."

# The image of a variable, with its tag: NAME.
image() { sed -n "s/.*[ :]\([a-z]*:[0-9][^ ]*\)\${$1_DIGEST.*/\1/p" Dockerfile docker-compose.yml | sort -u; }

new=$(mktemp)
trap 'rm -f "$new"' EXIT
while read -r line; do
    case $line in
    *_DIGEST=*)
        image=$(image "${line%%_DIGEST=*}")
        digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image") ||
            { echo "[Digests] expected a digest for $image, got none from its registry; .env stays as it was" >&2; exit 1; }
        expr "$digest" : 'sha256:[0-9a-f]\{64\}$' >/dev/null || { echo "[Digests] $image: expected a digest, got $digest" >&2; exit 1; }
        echo "[Digests] $image@$digest"
        echo "${line%%=*}=@$digest" >>"$new"
        ;;
    *) echo "$line" >>"$new" ;;
    esac
done <.env
cat "$new" >.env
