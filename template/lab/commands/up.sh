#!/bin/sh
# Builds what changed, starts the lab, waits until the lab answers, and prints the address. With --no-build, it builds nothing. The
# last line of the output is the error, if there is one.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone up
. lab/commands/lib/all.sh
. lab/commands/lib/progress.sh
. lab/commands/lib/start.sh
. lab/commands/lib/mounts.sh
. lab/commands/lib/replaced.sh
. lab/commands/lib/print_address.sh

engine=$(engine_kind)
require check_merged check_engine check_compose_file
check_env_values | sed 's/^/labdock: /' >&2 # the lab can start with such a value
require check_path check_same_name check_ids check_username check_umask check_time_zone check_port check_ui check_audit check_limits \
    check_index check_ca check_git check_folders check_extensions check_config
for check in $before_start; do require "$check"; done

work=$(mktemp -d)
trap 'rm -rf "$work"; unlock' EXIT
trap 'exit 130' HUP INT TERM

if [ "${1:-}" != --no-build ]; then
    echo "Building what changed; the first time takes minutes ..." >&2
    show "$work/build" build || refuse_build "$work/build"
fi

check_list >"$work/list" & # run this in the background, because both this check and the start take about a second
comparison=$!

remove_refused

# The start makes a new token if there is none. A running server would not read the new token.
[ -f secrets/jupyter_token ] || stop_server

# print_problems: print what the further checks find.
print_problems() {
    for check in $after_start; do "$check"; done
}

# A start mounts the current files and folders.
restarted=$(replaced)
if printf '%s' "$restarted" | grep -qvxE "$server_files"; then
    echo "The lab restarts, because these files or folders were replaced: $restarted" | tr '\n' ' ' >&2
    echo >&2
    stop_lab
    find_lab
elif changed=$({ echo "$restarted" && edited; } | grep . | sort -u | tr '\n' ' ') && [ -n "$changed" ]; then
    for check in $before_restart; do require "$check"; done
    echo "The server restarts, and notebooks go on, because these files changed: $changed" >&2
    stop_server
    find_lab
fi

before=
case $server_state,$lab_state in running*,running*) before=$server$lab ;; esac
tries=1
until show "$work/start" start; do
    # Another `docker compose` command for this lab runs at the same time. So try again, up to five times.
    if [ "$tries" -lt 5 ] && interrupted "$work/start"; then
        tries=$((tries + 1))
        echo "Another command changed the lab at the same time. Starting the lab again ..." >&2
        sleep 1
        continue
    fi
    # shellcheck disable=SC2086 # names of services
    docker compose logs --no-log-prefix --tail 20 prepare server lab $more_services >"$work/lab" 2>/dev/null || true
    reason=$(start_failure "$work/start" "$work/lab")
    if [ -z "$reason" ]; then
        cat "$work/lab" >&2
        reason="the lab did not start. Read the lines above, and run 'make doctor' to check the settings."
    fi
    # Remove the containers that did not start, and their logs. Leave a lab that ran before and still runs.
    # shellcheck disable=SC2154 # all.sh sets it
    failed="prepare server lab $more_services"
    find_lab
    case $server$lab,$server_state in "$before",running*) failed=prepare && remove_refused ;; esac
    # shellcheck disable=SC2086 # names of services
    interrupted "$work/start" || docker compose rm --stop --force $failed >/dev/null 2>&1 || true
    refuse "$reason"
done
require_running
[ -z "$restarted" ] || [ -z "$(replaced)" ] || refuse "$(unseen)"

wait "$comparison"
{ check_packages && check_no_proxy && print_problems && cat "$work/list"; } | sed 's/^/labdock: /' >&2
for note in note_read_only note_apart note_published $more_notes; do
    "$note" >&2
done
print_address
