#!/bin/sh
# Replaces the token and ends every session. It stops the server first, so the old token ends even if the start fails. Notebooks
# go on.
set -eu
. lab/commands/lib/one_at_a_time.sh
. lab/commands/lib/all.sh

# stop_servers: stop every running server of this folder.
stop_servers() {
    servers=$(running_servers) || refuse "the engine does not list its containers, so the old token still works. Run 'docker ps' to see the reason, then run 'make rotate' again."
    for server in $servers; do
        docker stop "$server" >/dev/null || refuse "the server did not stop, so the old token still works. Run 'docker rm --force $server', then 'make rotate' again."
    done
}

require check_engine
stop_servers
# Delete the old token before waiting for the lock, because another command may hold the lock for minutes.
rm -f secrets/jupyter_token || refuse "secrets/jupyter_token cannot be deleted. Run 'sudo rm secrets/jupyter_token', then 'make up'."
alone rotate
# Another `make up` may have started a server with the old token. So stop the servers again.
stop_servers

# If an image exists, start it without a build, because a build could fail.
if docker image inspect "$(image lab)" >/dev/null 2>&1; then
    exec sh lab/commands/up.sh --no-build
fi
exec sh lab/commands/up.sh
