#!/bin/sh
# Build what changed, start the lab, wait until it answers, print its address. A refusal is one sentence, and last.
set -eu
. lab/tools/lib.sh

for check in check_engine check_ids check_username check_port check_ui check_limits check_folders check_ca; do
    problem=$($check)
    [ -z "$problem" ] || refuse "$(echo "$problem" | head -n 1)"
done

if ! docker compose build; then
    # The steps of the Dockerfile say themselves why they failed (lab/build.sh); repeat it as the last line.
    log=$(docker buildx history logs 2>&1 || true)
    reason=$(echo "$log" | sed -n 's/.*labdock: //p' | tail -n 1)
    case $log in *"no space left on device"*) reason=${reason:-"the disk is full: free some with 'docker system prune'"} ;; esac
    refuse "the image was not built: ${reason:-see the lines above}"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! docker compose up --detach --wait >"$log" 2>&1; then
    reason=$(docker compose logs --no-log-prefix --tail 20 prepare lab 2>/dev/null | sed -n 's/^labdock: //p' | tail -n 1)
    if [ -z "$reason" ] && grep -qE 'port is already allocated|address already in use' "$log"; then
        reason="port $(setting JUPYTER_PORT 8888) is taken: put another JUPYTER_PORT into .env (0 takes any free one)"
    fi
    [ -n "$reason" ] || cat "$log" >&2
    # Whatever did not come up goes away; a lab that was running before under this name is not touched.
    docker compose ps --all --quiet --status created --status restarting --status exited | while read -r id; do
        docker rm --force "$id" >/dev/null
    done
    [ "$(docker compose ps --format '{{.Health}}' lab)" = healthy ] || docker compose stop lab >/dev/null 2>&1
    refuse "${reason:-the lab did not start: the lines above and 'make logs' say why}"
fi
sh lab/tools/url.sh
