#!/bin/sh
# Replaces the token and ends every session. It stops the lab first, so the old token ends even if the start fails.
set -eu
. lab/commands/lib/one_at_a_time.sh
. lab/commands/lib/all.sh

# stop_labs: stop every running lab of this folder.
stop_labs() {
    labs=$(running_labs) || refuse "the engine does not list its containers, so the old token still works. Run 'docker ps' to see the reason, then run 'make rotate' again."
    for lab in $labs; do
        docker stop "$lab" >/dev/null || refuse "the lab did not stop, so the old token still works. Run 'docker rm --force $lab', then 'make rotate' again."
    done
}

require check_engine
stop_labs
# Delete the old token before waiting for the lock, because another command may hold the lock for minutes.
rm -f secrets/jupyter_token || refuse "secrets/jupyter_token cannot be deleted. Run 'sudo rm secrets/jupyter_token', then 'make up'."
alone rotate
# Another `make up` may have started a lab with the old token. So stop the labs again.
stop_labs

# If an image exists, start it without a build, because a build could fail.
if docker image inspect "$(image lab)" >/dev/null 2>&1; then
    exec sh lab/commands/up.sh --no-build
fi
exec sh lab/commands/up.sh
