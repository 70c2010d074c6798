#!/bin/sh
# Stops the lab and removes its containers. Your files stay.
set -eu
. lab/commands/lib/lock.sh

alone down
docker compose down
