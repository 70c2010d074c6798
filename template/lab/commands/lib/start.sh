# Starts the lab, and finds the reason if the lab does not start.
# shellcheck shell=sh disable=SC2154 # find_lab sets lab, server and their states

# start: start the lab and wait until it is healthy.
start() {
    if [ "$(engine_kind)" = podman ]; then
        start_with_podman
    else
        end_refused >/dev/null 2>&1 &
        watching=$!
        status=0
        docker compose up --detach --wait --no-build || status=$?
        kill "$watching" 2>/dev/null || true
        wait "$watching" 2>/dev/null || true
        return "$status"
    fi
}

# end_refused: end a lab that refuses to start. Otherwise `up --wait` would wait a minute and a half for its health.
end_refused() {
    while sleep 3 && kill -0 $$; do
        ! refused || docker compose kill server lab
        ids=$(others_refused)
        # shellcheck disable=SC2086 # ids
        [ -z "$ids" ] || docker kill $ids
    done
}

# Podman checks health with systemd, and not every machine has systemd. So this function asks the lab itself.
start_with_podman() {
    docker compose up --detach --no-build || return 1
    for _ in $(seq 120); do
        ! docker compose exec --no-TTY server bash /opt/labdock/healthcheck.sh 2>/dev/null ||
            ! docker compose exec --no-TTY lab /opt/jupyter/bin/python -IS /opt/labdock/agent_check.py 2>/dev/null || return 0
        [ -n "$(docker compose ps --quiet --status running server)" ] && [ -n "$(docker compose ps --quiet --status running lab)" ] ||
            return 1
        sleep 1
    done
    return 1
}

# interrupted LOG: true if another `docker compose` command removed or renamed a container during the start.
interrupted() {
    grep -qE 'The container name .* is already in use|removal of container .* is already in progress|No such container|is missing dependency' "$1"
}

# unseen: print that the engine cannot use this folder, and name locations that work.
unseen() {
    echo "the engine does not see the files of this folder. Move the project to a local disk of the machine that runs the engine. On a FUSE file system, use the mount option allow_other. With Docker Desktop, share the folder in Settings, Resources, File sharing."
}

# start_failure LOG CONTAINER_LOG: print the reason. The entrypoint prints its reason after "labdock: ".
start_failure() {
    reason=$(sed -n 's/^labdock: //p' "$2" | tail -n 1)
    port=$(setting JUPYTER_PORT)
    case $reason in
    *" belongs to root "*) [ -n "$(check_folders)$(check_mounts)" ] || reason=$(unseen) ;; # the engine made its own folders
    esac
    if [ -n "$reason" ]; then
        echo "$reason"
    elif interrupted "$1"; then
        echo "other 'docker compose' commands change this lab at the same time. Wait until they end, then run 'make up' again."
    elif grep -qE 'address pools have been fully subnetted|available, non-overlapping IPv4 address pool|find free subnet' "$1"; then
        echo "the engine has no free address range for the lab's network. Run 'docker network prune' to remove unused networks. If this does not help, add a range to default-address-pools in the engine's daemon.json."
    elif grep -qE 'error while creating mount source path|Mounts denied|bind source path does not exist|statfs .*(permission denied|no such file)' "$1"; then
        unseen
    elif grep -qE ":$port([^0-9].*)? (port is already allocated|address already in use)" "$1"; then
        echo "port $port is in use. Set JUPYTER_PORT to another port, or to 0 for any free port, in .env."
    elif grep -q 'cannot assign requested address' "$1"; then
        echo "JUPYTER_BIND is '$(setting JUPYTER_BIND)', which is not an address of this machine. Set it to 127.0.0.1 or another address of this machine in .env."
    elif grep -q 'could not select device driver' "$1"; then
        echo "the engine provides no GPU. Install the NVIDIA Container Toolkit, or run 'copier update$(answers_file) --defaults --data gpu=none'."
    fi
}

# refused: true if a container of the lab refused to start. It may still run (entrypoint.sh) or may be stopped.
refused() {
    find_lab
    refusal "$server" "$server_state" || refusal "$lab" "$lab_state"
}

# others_refused: print the id of each container in `others` that refused to start.
others_refused() {
    printf '%s' "$others" | while read -r id state; do
        ! refusal "$id" "$state" || echo "$id"
    done
}

# refusal ID STATE: true if this container refused to start.
refusal() {
    case $2 in '' | *"(healthy)") return 1 ;; esac
    docker logs --tail 1 "$1" 2>&1 | grep -q '^labdock: '
}

# remove_refused: remove a lab that refused to start after an engine restart. Its log would look like a new refusal.
remove_refused() {
    ! refused || docker compose rm --stop --force server lab >/dev/null 2>&1 || true
    ids=$(others_refused)
    # shellcheck disable=SC2086 # ids
    [ -z "$ids" ] || docker rm --force $ids >/dev/null 2>&1 || true
    find_lab
}
