# Checks the container engine. Each check prints a problem and its fix, or nothing.
# shellcheck shell=sh

# An older engine ignores settings that protect the lab.
check_engine() {
    if ! command -v docker >/dev/null; then
        echo "docker is not found. Install Docker Engine 25 or later with its Compose and buildx plugins."
        return
    fi
    if ! version=$(docker version --format '{{.Server.Version}}' 2>/dev/null); then
        case $(docker version 2>&1) in
        *"permission denied"*) echo "your user has no permission to use the Docker engine. Run 'sudo usermod -aG docker $(id -un)', then log in again." ;;
        *) echo "no Docker engine answers${DOCKER_HOST:+ at DOCKER_HOST, $DOCKER_HOST}. Start the engine. To see details, run 'docker info'." ;;
        esac
        return
    fi
    require_version "Docker Compose" 2 39 "$(docker compose version --short 2>/dev/null)"
    if [ "$(engine_kind)" = podman ]; then
        require_version Podman 4 3 "$version"
        check_podman
        return
    fi
    require_version "Docker Engine" 25 0 "$version"
    require_version "Docker buildx" 0 12 "$(docker buildx version 2>/dev/null | cut -d ' ' -f 2)"
}

# `podman` builds the image, and `docker` runs it. So both must use the same engine, which is the user's own engine
# without root.
check_podman() {
    own="$(podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphRoot}}' 2>/dev/null)"
    asked="true $(docker info --format '{{.DockerRootDir}}')"
    case $own in "false "*) own="$own (as root)" ;; esac
    [ "$own" = "$asked" ] ||
        echo "docker uses Podman with the folder '${asked#true }', but your own Podman uses the folder '${own#* }'. Run 'systemctl --user start podman.socket' without sudo, and set DOCKER_HOST=unix://\$XDG_RUNTIME_DIR/podman/podman.sock."
}

# require_version PROGRAM MAJOR MINOR VERSION: print a problem if VERSION is missing or older than MAJOR.MINOR.
require_version() {
    number=${4#v}
    major=${number%%.*}
    minor=${number#*.}
    minor=${minor%%[!0-9]*}
    if ! whole_number "$major" 0 9999 || ! whole_number "$minor" 0 9999; then
        echo "$1 is missing. Install $2.$3 or later."
    elif [ "$major" -lt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -lt "$3" ]; }; then
        echo "$1 is $number, but $2.$3 or later is needed. Update $1."
    fi
}

# Some commands need BuildKit, because they do more than build an image.
check_buildkit() {
    [ "$(engine_kind)" != podman ] ||
        echo "this command needs BuildKit, which Podman does not have. Run this command on a machine with Docker."
}

check_compose_file() {
    files=$(setting COMPOSE_FILE)
    case $(engine_kind):$files in
    podman:*lab/runtime/podman.yaml*) ;;
    podman:*) echo "COMPOSE_FILE is '$files', but the engine is Podman. Set COMPOSE_FILE=compose.yaml:lab/runtime/podman.yaml:compose.override.yaml in .env." ;;
    *:*lab/runtime/podman.yaml*) echo "COMPOSE_FILE is '$files', but the engine is not Podman. Delete the line with COMPOSE_FILE from .env." ;;
    esac
}
