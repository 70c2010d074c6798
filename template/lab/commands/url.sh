#!/bin/sh
# Prints the lab's address and the path of its token.
set -eu
. lab/commands/lib/all.sh

require_running
address=$(docker compose port lab 8888)
case $address in 0.0.0.0:* | '[::]':*) address=127.0.0.1:${address##*:} ;; esac
case $(setting JUPYTER_UI) in
lab) path=lab ;;
*) path=tree ;;
esac
echo "Token:   in secrets/jupyter_token (the page asks for it once)"
echo "Address: http://$address/$path"
