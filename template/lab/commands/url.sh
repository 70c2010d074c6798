#!/bin/sh
# Print where the lab is and where its token is.
set -eu
. lab/commands/lib/all.sh

address=$(docker compose port lab 8888 2>/dev/null) || refuse "the lab is not running: start it with 'make up'."
case $address in 0.0.0.0:* | '[::]':*) address=127.0.0.1:${address##*:} ;; esac
echo "Token:   in secrets/jupyter_token (the page asks for it once)"
if [ "$(setting JUPYTER_UI lab)" = lab ]; then path=lab; else path=tree; fi
echo "Address: http://$address/$path"
