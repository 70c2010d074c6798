# Finds the lab of this folder, stops it, and reads its notes and its memory counter.
# shellcheck shell=sh

# find_lab: set `lab` to the id of the lab's container, and `state` to its state and health, such as "running healthy". Both
# are empty if there is no container. `docker` is quicker than `docker compose ps` and `exec`, which read every file.
lab=
state=
find_lab() {
    lab=$(docker ps --all --quiet --filter label=com.docker.compose.service=lab --filter label=com.docker.compose.oneoff=False \
        --filter "label=com.docker.compose.project=$(setting COMPOSE_PROJECT_NAME)" 2>/dev/null | head -n 1)
    state=
    [ -z "$lab" ] ||
        state=$(docker inspect --format '{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}' "$lab" 2>/dev/null) || lab=
}

# stop_lab: stop the lab that `find_lab` found.
stop_lab() {
    [ -z "$lab" ] || docker stop "$lab" >/dev/null 2>&1 || true
}

# require_running: find the lab, or end the script if the lab does not run.
require_running() {
    find_lab
    case $state in
    running* | paused*) ;;
    *) refuse "the lab is not running. Start the lab with 'make up'." ;;
    esac
}

# running_labs: print the ids of this folder's running lab containers. Each container has a label with its folder, so this works
# with a broken .env too.
running_labs() {
    labs_of "$(pwd)" || return 1
    [ "$(pwd)" = "$(pwd -P)" ] || labs_of "$(pwd -P)" # Compose may have started the lab through a link
}

# labs_of FOLDER: print the ids of the running lab containers that Compose started in FOLDER.
labs_of() {
    docker ps --quiet --filter label=com.docker.compose.service=lab \
        --filter "label=com.docker.compose.project.working_dir=$1"
}

# note_read_only: print a note for each read-only mount of the running lab. The lab's own notes are in setting_rules.sh.
note_read_only() {
    docker exec "$lab" sh -c '. /opt/labdock/setting_rules.sh && read_only_notes' 2>/dev/null </dev/null |
        sed 's/^/note  /'
}

# ended_by_memory: print the number of programs in the running lab that Linux ended because memory was full (cgroups v2 or v1).
ended_by_memory() {
    docker exec "$lab" cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control \
        2>/dev/null </dev/null | sed -n 's/^oom_kill //p'
}
