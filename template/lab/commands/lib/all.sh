# Everything that the commands share: `. lab/commands/lib/all.sh` in the project's folder.
# shellcheck shell=sh
. lab/commands/lib/settings.sh
. lab/commands/lib/engine.sh
. lab/commands/lib/checks.sh
