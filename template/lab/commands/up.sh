#!/bin/sh
# Build what changed (not with --no-build), start the lab, wait until it answers, print its address. A refusal is one
# sentence, and last.
set -eu
. lab/commands/lib/all.sh

engine=$(engine_kind)
require check_merged check_engine check_compose_file check_ids check_username check_umask check_port check_ui check_limits check_index check_ca check_git check_folders check_config

log=$(mktemp)
trap 'rm -f "$log" "$log.failed"' EXIT
trap 'exit 130' HUP INT TERM

# shown COMMAND...: run it; $log keeps what it prints. A terminal shows each line as it comes, a pipe only those of a
# command that failed. (POSIX sh has no pipefail: a file tells.)
shown() {
    if [ -t 2 ]; then
        { "$@" 2>&1 || touch "$log.failed"; } | tee "$log" >&2
        [ ! -e "$log.failed" ]
    elif ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}

# Podman knows a container's health through systemd, which is not everywhere: there, the lab itself is asked.
start() {
    if [ "$(engine_kind)" != podman ]; then
        docker compose up --detach --wait --no-build
        return
    fi
    docker compose up --detach --no-build || return 1
    for _ in $(seq 120); do
        ! docker compose exec --no-TTY lab bash /opt/labdock/healthcheck.sh 2>/dev/null || return 0
        [ -n "$(docker compose ps --quiet --status running lab)" ] || return 1
        sleep 1
    done
    return 1
}

[ "${1:-}" = --no-build ] || echo "Building what changed; the first time takes minutes ..." >&2
if [ "${1:-}" != --no-build ] && ! shown build; then
    # The steps of the Dockerfile say themselves why they failed (lab/build/attempt.py).
    reason=$(sed -n 's/.*labdock: //p' "$log" | tail -n 1)
    if [ -n "$reason" ]; then
        :
    elif grep -q 'no space left on device' "$log"; then
        reason="the disk is full: free some with 'docker system prune'."
    elif grep -q 'invalid reference format' "$log"; then
        reason="PYTHON_IMAGE is '$(setting PYTHON_IMAGE '')', and compose.pins.yaml adds a digest: leave the digest out of .env."
    elif grep -q 'failed to resolve source metadata' "$log"; then
        image=$(sed -n 's/.*failed to solve: \(.*\): failed to resolve source metadata.*/\1/p' "$log" | tail -n 1)
        reason="the base image $image cannot be fetched: name one that can be in .env, PYTHON_IMAGE."
        case $image in *@*) reason="${reason%.}, or pin another: 'make pin'." ;; esac
    fi
    refuse "the image was not built: ${reason:-the lines above say why.}"
fi

# A missing token means a new one, which a server that runs would not know.
[ -f secrets/jupyter_token ] || docker compose stop lab >/dev/null 2>&1 || true

# A lab that refused to serve after a restart waits for this moment (lab/server/entrypoint.sh).
if [ "$(docker compose ps --format '{{.Health}}' lab)" != healthy ] &&
    docker compose logs --no-log-prefix --tail 1 lab 2>/dev/null | grep -q '^labdock: '; then
    docker compose rm --stop --force lab >/dev/null 2>&1 || true
fi

before=$(docker compose ps --quiet --status running lab || true)
if ! shown start; then
    logs=$(docker compose logs --no-log-prefix --tail 20 prepare lab 2>/dev/null || true)
    reason=$(printf '%s\n' "$logs" | sed -n 's/^labdock: //p' | tail -n 1)
    port=$(setting JUPYTER_PORT 8888)
    if [ -n "$reason" ]; then
        :
    elif grep -qE ":$port([^0-9].*)? (port is already allocated|address already in use)" "$log"; then
        reason="port $port is taken: put another JUPYTER_PORT into .env (0 takes any free one)."
    elif grep -q 'cannot assign requested address' "$log"; then
        reason="JUPYTER_BIND is '$(setting JUPYTER_BIND 127.0.0.1)', no address of this machine: mend it in .env."
    elif grep -q 'could not select device driver' "$log"; then
        reason="the engine hands out no graphics processor: install NVIDIA's container toolkit, or run 'copier update --data gpu=none'."
    else
        printf '%s\n' "$logs" >&2
    fi
    # What did not come up goes away, log and all; a lab that ran before, and still does, is left alone.
    failed="prepare lab"
    [ -z "$before" ] || [ "$(docker compose ps --quiet --status running lab)" != "$before" ] || failed=prepare
    # shellcheck disable=SC2086 # names of services
    docker compose rm --stop --force $failed >/dev/null 2>&1 || true
    refuse "${reason:-the lab did not start: the lines above say why.}"
fi
problem=$(check_packages)
[ -z "$problem" ] || printf 'labdock: %s\n' "$problem" >&2
sh lab/commands/url.sh
