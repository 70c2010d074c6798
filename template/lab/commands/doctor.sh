#!/bin/sh
# Checks the engine, the settings and the files. Each line starts with ok, note or FIX. Fails if there is a FIX.
set -eu
. lab/commands/lib/all.sh
. lab/commands/doctor/scratch.sh
. lab/commands/doctor/certificates.sh
. lab/commands/doctor/port.sh
. lab/commands/doctor/env_file.sh
. lab/commands/doctor/token.sh
. lab/commands/lib/mounts.sh
. lab/commands/doctor/disk.sh
. lab/commands/doctor/lab.sh
. lab/commands/lib/replaced.sh
. lab/commands/doctor/notes.sh

# report CHECK WORDS: print each problem that CHECK finds. If it finds none, print WORDS, which say what is in order.
status=0
report() {
    problems=$($1)
    if [ -z "$problems" ]; then
        echo "ok    $2"
        return
    fi
    status=1
    printf '%s\n' "$problems" | while read -r problem; do
        echo "FIX   $problem$(or_default "$problem")"
    done
}

# or_default PROBLEM: if PROBLEM is about one setting, print the command that sets this setting to its default. Print
# nothing if the setting has its default already.
or_default() {
    case $1 in *" in .env." | *" In .env, set "*) ;; *) return 0 ;; esac
    name=${1%% *}
    line=$(grep -E "^$name=." sample.env) || return 0
    [ "$(setting "$name")" = "$(default "$name")" ] || echo " For the default, run '$(into_env "$line")'."
}

if [ -z "$settings" ]; then # Compose is missing, or it cannot read .env
    if ! docker compose version >/dev/null 2>&1; then
        report check_engine ""
        exit 1
    fi
    for check in check_env_file check_env_values check_config; do
        [ -z "$($check)" ] || report "$check" ""
    done
    exit 1
fi

engine=$(engine_kind)
# The folder in which the engine keeps its images. It may be on another machine.
engine_folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || engine_folder=
find_lab
while read -r check words; do
    report "$check" "$words"
done <<CHECKS
check_merged the last update is complete
check_engine engine, Compose and buildx are recent enough
check_compose_file the Compose files are those for this engine
check_ids LAB_UID and LAB_GID are valid
check_username JUPYTER_USERNAME is valid
check_umask LAB_UMASK is valid
check_time_zone LAB_TZ is valid
check_port JUPYTER_PORT is valid
check_port_free no other container uses the port
check_ui JUPYTER_UI is valid
check_audit LAB_AUDIT is valid
check_limits the limits for memory, CPUs and processes are valid
check_scratch LAB_SCRATCH is less than a third of LAB_MEMORY
check_no_proxy the services next to the lab are reached without the proxy
check_index PIP_INDEX_URL is valid
check_ca LAB_CA_BUNDLE can be read
check_certificates LAB_CA_BUNDLE contains certificates, or is not set
check_git the repository of LAB_GIT contains no credentials
check_disk the disk has enough space
check_path the engine can use this folder's path
check_folders data/, notebooks/ and secrets/ exist
check_mounts the lab can write data/, notebooks/ and secrets/
check_packages requirements.lock contains the packages that the lab needs
check_extensions the server's extensions fit the server, or there are none
check_list requirements.lock fits pyproject.toml, or the image is not built
check_env_file .env is for this folder and has no unknown setting
check_env_values Compose reads each value in .env as it is written
check_config Compose accepts all files
check_token the token is valid, or not made yet
check_replaced the lab uses the current files and folders, or is stopped
check_lab the lab answers, or is stopped$more_checks
CHECKS
print_notes
exit $status
