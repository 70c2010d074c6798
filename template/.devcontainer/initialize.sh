#!/bin/sh
# Runs on your machine before VS Code opens the lab. Writes .env with your ids, and compose.override.yaml if it is missing.
set -eu

# devcontainer.json names this file. Compose fails without it.
[ -e compose.override.yaml ] || echo 'services: {}' >compose.override.yaml
sh lab/commands/env.sh
. lab/commands/lib/all.sh
require check_git
