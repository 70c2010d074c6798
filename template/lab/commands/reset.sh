#!/bin/sh
# Deletes the volume with histories, JupyterLab's settings and VS Code's server, and starts the lab with an empty volume.
set -eu
. lab/commands/lib/all.sh

docker compose rm --stop --force lab
volume=$(docker compose config --environment | sed -n 's/^COMPOSE_PROJECT_NAME=//p')_kept
docker volume rm --force "$volume" >/dev/null ||
    refuse "volume $volume is in use. Run 'docker ps --all --filter volume=$volume' to list its containers, remove them with 'docker rm', then run 'make reset' again."
exec sh lab/commands/up.sh
