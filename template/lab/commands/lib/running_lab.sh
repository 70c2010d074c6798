# Finds the lab of this folder, stops it, and reads its notes and its memory counter.
# shellcheck shell=sh

# find_lab: set `lab` and `server` to the ids of the two containers, and `lab_state` and `server_state` to their state and health,
# such as "running Up 2 minutes (healthy)". Each is empty if there is no container. Set `others` to a line with id and state for each
# container of more_services. `docker` is quicker than `docker compose ps` and `exec`, which read every file.
find_lab() {
    lab='' lab_state='' server='' server_state='' others=''
    found=$(docker ps --all --no-trunc --filter label=com.docker.compose.oneoff=False \
        --filter "label=com.docker.compose.project=$(setting COMPOSE_PROJECT_NAME)" \
        --format '{{.Label "com.docker.compose.service"}} {{.ID}} {{.State}} {{.Status}}' 2>/dev/null) || true
    while read -r service id state; do
        case $service in
        lab) lab=$id lab_state=$state ;;
        server) server=$id server_state=$state ;;
        *)
            # shellcheck disable=SC2154 # all.sh sets it
            case " $more_services " in *" $service "*) others="$others$id $state
" ;; esac
            ;;
        esac
    done <<CONTAINERS
$found
CONTAINERS
}

# stop_lab: stop the lab that `find_lab` found.
stop_lab() {
    # shellcheck disable=SC2086 # ids
    [ -z "$server$lab" ] || docker stop $server $lab >/dev/null 2>&1 || true
}

# stop_server: stop the server that `find_lab` found. Before v0.3.0, the container `lab` was the server too.
stop_server() {
    docker stop "${server:-$lab}" >/dev/null 2>&1 || true
}

# require_running: find the lab, or end the script if the lab does not run.
require_running() {
    find_lab
    for state in "$server_state" "$lab_state"; do
        case $state in
        running* | paused*) ;;
        *) refuse "the lab is not running. Start the lab with 'make up'." ;;
        esac
    done
}

# running_servers: print the ids of this folder's running containers that know the token. Each container has a label with its
# folder, so this works with a broken .env too.
running_servers() {
    servers_of "$(pwd)" || return 1
    [ "$(pwd)" = "$(pwd -P)" ] || servers_of "$(pwd -P)" # Compose may have started the lab through a link
}

# servers_of FOLDER: print the ids of the running containers with the token that Compose started in FOLDER.
servers_of() {
    docker ps --quiet --filter volume=/run/secrets/jupyter_token \
        --filter "label=com.docker.compose.project.working_dir=$1"
}

# note_read_only: print a note for each read-only mount of the running lab. The lab's own notes are in setting_rules.sh.
note_read_only() {
    docker exec "$lab" sh -c '. /opt/labdock/setting_rules.sh && read_only_notes' 2>/dev/null </dev/null |
        sed 's/^/note  /'
}

# note_apart: print a note for each setting in compose.override.yaml that the service `server` needs too. Before v0.3.0, the
# service `lab` was the server.
note_apart() {
    [ -n "$server" ] && [ -n "$lab" ] || return 0
    if docker port "$lab" 8888 >/dev/null 2>&1; then
        echo "note  compose.override.yaml publishes port 8888 of the service lab, where nothing listens. Move these lines from 'lab' to 'server', which is the Jupyter server."
    fi
    shown=$(destinations "$server")
    destinations "$lab" | grep "^/home/$(setting JUPYTER_USERNAME)/[^.]" | while IFS= read -r path; do
        printf '%s\n' "$shown" | grep -qxF "$path" ||
            echo "note  $path is a mount of the service lab only, so the file browser does not show it. In compose.override.yaml, add this mount to the service server too."
    done
}

# note_published: print a note if other computers can reach the lab without TLS.
note_published() {
    # shellcheck disable=SC2154 # all.sh sets it
    [ "$scheme" = http ] || return 0
    published=$(docker port "$server" 8888 2>/dev/null) || published=$(setting JUPYTER_BIND):$(setting JUPYTER_PORT)
    printf '%s\n' "$published" | grep -vE '^(127\.|\[?::1\]?:)' | head -n 1 | while read -r address; do
        echo "note  other computers can reach the lab at $address, and the connection has no TLS: they can read the token and your work on the way. Run 'copier update$(answers_file) --defaults --data tls=self-signed', then 'make up'."
    done
}

# destinations ID: print the path of each mount in a container.
destinations() {
    docker inspect --format '{{range .Mounts}}{{.Destination}}{{"\n"}}{{end}}' "$1" 2>/dev/null
}

# ended_by_memory: print the number of programs in the running lab that Linux ended because memory was full (cgroups v2 or v1).
ended_by_memory() {
    docker exec "$lab" cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control \
        2>/dev/null </dev/null | sed -n 's/^oom_kill //p'
}
