#!/bin/sh
# Deletes the volumes with histories, JupyterLab's settings, VS Code's server and caches, and starts the lab with empty volumes.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone reset
. lab/commands/lib/all.sh

require check_same_name
docker compose rm --stop --force server lab prepare
project=$(setting COMPOSE_PROJECT_NAME)
for volume in kept cache server; do
    volume=${project}_$volume
    docker volume rm --force "$volume" >/dev/null ||
        refuse "volume $volume is in use. Run 'docker ps --all --filter volume=$volume' to list its containers, remove them with 'docker rm', then run 'make reset' again."
done
exec sh lab/commands/up.sh
