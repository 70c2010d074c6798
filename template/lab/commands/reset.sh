#!/bin/sh
# Forget what outlived earlier starts: the volume goes, and the next start makes an empty one.
set -eu
. lab/commands/lib/all.sh

docker compose rm --stop --force lab
name=$(docker compose config --format json | sed -n 's/^  "name": "\(.*\)",$/\1/p')
docker volume rm --force "${name}_kept" >/dev/null || refuse "volume ${name}_kept is in use: 'docker ps --all --filter volume=${name}_kept' says by what."
exec sh lab/commands/up.sh
