#!/bin/sh
# Stops the lab and removes its containers. Your files stay.
set -eu
. lab/commands/lib/one_at_a_time.sh

alone down
docker compose down
