#!/bin/sh
# Builds what changed, starts the lab, waits until the lab answers, and prints the address. With --no-build, it builds nothing. The
# last line of the output is the error, if there is one.
set -eu
. lab/commands/lib/all.sh
. lab/commands/lib/progress.sh
. lab/commands/lib/start.sh

engine=$(engine_kind)
require check_merged check_engine check_compose_file check_ids check_username check_umask check_port check_ui check_limits \
    check_index check_ca check_git check_folders check_config

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

if [ "${1:-}" != --no-build ]; then
    echo "Building what changed; the first time takes minutes ..." >&2
    show "$work/build" build || refuse_build "$work/build"
fi

# The start makes a new token if there is none. A running server would not read it.
[ -f secrets/jupyter_token ] || docker compose stop lab >/dev/null 2>&1 || true
remove_refused

before=$(docker compose ps --quiet --status running lab || true)
if ! show "$work/start" start; then
    docker compose logs --no-log-prefix --tail 20 prepare lab >"$work/lab" 2>/dev/null || true
    reason=$(start_failure "$work/start" "$work/lab")
    if [ -z "$reason" ]; then
        cat "$work/lab" >&2
        reason="the lab did not start. Read the lines above, and run 'make doctor' to check the settings."
    fi
    # Remove what did not start, with its log. Leave a lab that ran before and still runs.
    failed="prepare lab"
    if [ -n "$before" ] && [ "$(docker compose ps --quiet --status running lab)" = "$before" ]; then
        failed=prepare
    fi
    # shellcheck disable=SC2086 # names of services
    docker compose rm --stop --force $failed >/dev/null 2>&1 || true
    refuse "$reason"
fi

problem=$(check_packages)
[ -z "$problem" ] || printf 'labdock: %s\n' "$problem" >&2
sh lab/commands/url.sh
