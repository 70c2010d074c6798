# Loads the functions that the commands share. Source this file in the project folder: `. lab/commands/lib/all.sh`.
# shellcheck shell=sh
. lab/server/setting_rules.sh
. lab/commands/lib/read_settings.sh
. lab/commands/lib/engine_kind.sh
. lab/commands/lib/running_lab.sh
. lab/commands/lib/env_lines.sh
. lab/commands/lib/build.sh
. lab/commands/lib/checks/engine.sh
. lab/commands/lib/checks/settings.sh
. lab/commands/lib/checks/files.sh
