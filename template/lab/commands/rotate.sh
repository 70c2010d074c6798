#!/bin/sh
# Make a new token. The lab reads it when it starts, and forgets every session then: `make up` restarts it.
set -eu
. lab/commands/lib/all.sh

rm -f secrets/jupyter_token || refuse "secrets/jupyter_token cannot be deleted: run 'sudo rm secrets/jupyter_token'."
exec sh lab/commands/up.sh
