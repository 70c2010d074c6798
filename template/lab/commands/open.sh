#!/bin/sh
# Before an editor opens the lab (.devcontainer/): .env with your ids, and the file that devcontainer.json names.
set -eu

[ -e compose.override.yaml ] || echo 'services: {}' >compose.override.yaml
sh lab/commands/env.sh
. lab/commands/lib/all.sh
require check_git
