# Loads the functions that the commands share. Source this file in the project folder: `. lab/commands/lib/all.sh`.
# shellcheck shell=sh disable=SC2034 # the commands read these variables
. lab/server/setting_rules.sh
. lab/commands/lib/read_settings.sh
. lab/commands/lib/engine_kind.sh
. lab/commands/lib/running_lab.sh
. lab/commands/lib/env_lines.sh
. lab/commands/lib/build.sh
. lab/commands/lib/checks/engine.sh
. lab/commands/lib/checks/settings.sh
. lab/commands/lib/checks/files.sh

# Some answers to Copier's questions add a file in checks/answers/, which changes these settings and functions. `make up` uses the
# names of checks in before_start, before_restart (of the server) and after_start, and of notes in more_notes. `make down` runs
# the functions in before_down and after_down. `make doctor` uses
# more_checks, lines with a name and words.
before_start='' before_restart='' after_start='' before_down='' after_down='' more_notes='' more_checks='' more_for_tests=''
scheme=http
own_services='lab|server|prepare' # a pattern for the services of the template
more_services=''                  # further services whose start the entrypoint can refuse
written='data notebooks secrets' # folders that the lab writes
export secret_folders='' # besides secrets/, in a bundle
server_files=secrets/jupyter_token # a pattern for the files that only the server reads
known_as() { echo "$1"; }
edited_too() { :; }
# shellcheck disable=SC1090
for file in lab/commands/lib/checks/answers/*.sh; do [ ! -e "$file" ] || . "$file"; done
