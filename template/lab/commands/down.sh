#!/bin/sh
# Stops the lab and removes its containers. Your files stay.
set -eu
. lab/commands/lib/one_at_a_time.sh

alone down
. lab/commands/lib/all.sh

for each in $before_down; do "$each"; done
docker compose down
for each in $after_down; do "$each"; done
