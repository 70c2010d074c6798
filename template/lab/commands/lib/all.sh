# Everything that the commands share. Source it in the project's folder: `. lab/commands/lib/all.sh`.
# shellcheck shell=sh
. lab/server/checks.sh
. lab/commands/lib/settings.sh
. lab/commands/lib/engine.sh
. lab/commands/lib/build.sh
. lab/commands/lib/checks/engine.sh
. lab/commands/lib/checks/settings.sh
. lab/commands/lib/checks/files.sh
