# The container engine: which one it is, whether it is recent enough, and how it builds an image.
# shellcheck shell=sh

# engine_kind: docker, rootless (Docker without root: its uid 0 is who runs it) or podman; docker where none answers.
engine_kind() {
    if [ -n "${engine:-}" ]; then
        echo "$engine" # asked already
        return
    fi
    case $(docker version --format '{{.Server.Components}}' 2>/dev/null) in
    *"Podman Engine"*) echo podman && return ;;
    esac
    case $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) in
    *name=rootless*) echo rootless ;;
    *) echo docker ;;
    esac
}

# build [SERVICE]: the images. Compose needs BuildKit for the CA, which Podman has not: there, its own builder does it.
build() {
    if [ "$(engine_kind)" != podman ]; then
        docker compose build "$@"
        return
    fi
    stage=${1:-lab}
    # The arguments as Compose has them, with those of compose.override.yaml. The base image's Python reads them.
    python=$(setting PYTHON_IMAGE "$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)")
    arguments=$(docker compose --profile '*' config --format json |
        podman run --rm --interactive --network none "$python" \
            python3 -I -c "$(cat lab/build/compose_config.py)" arguments "$stage") || return 1
    set -- --secret "id=ca,src=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)"
    [ -z "$PIP_INDEX_URL" ] || set -- "$@" --secret id=index,env=PIP_INDEX_URL
    while read -r argument; do
        [ -z "$argument" ] || set -- "$@" --build-arg "$argument"
    done <<ARGUMENTS
$arguments
ARGUMENTS
    podman build "$@" --target "$stage" --tag "docker.io/library/$(image "$stage")" .
}

# build_quietly LOG WORD...: the same, without a word where it succeeds. The Dockerfile's steps say why they failed.
build_quietly() {
    log=$1
    shift
    if ! build "$@" >"$log" 2>&1; then
        cat "$log" >&2
        reason=$(sed -n 's/.*labdock: //p' "$log" | tail -n 1)
        refuse "the image was not built: ${reason:-the lines above say why.}"
    fi
}

# An engine that is too old ignores what protects the lab, so it is refused.
check_engine() {
    if ! command -v docker >/dev/null; then
        echo "docker is not found: install Docker Engine 25 or later with its Compose and buildx plugins."
        return
    fi
    if ! version=$(docker version --format '{{.Server.Version}}' 2>&1); then
        case $version in
        *"permission denied"*) echo "your user may not use the Docker engine: run 'sudo usermod -aG docker $(id -un)', then log in again." ;;
        *) echo "no Docker engine answers${DOCKER_HOST:+ at DOCKER_HOST, $DOCKER_HOST}: start it; 'docker info' says more." ;;
        esac
        return
    fi
    needed "Docker Compose" 2 39 "$(docker compose version --short 2>/dev/null)"
    if [ "$(engine_kind)" = podman ]; then
        needed Podman 4 3 "$version"
        # `podman` builds what `docker` runs: both have to mean the same engine, and one without root.
        own="$(podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphRoot}}' 2>/dev/null)"
        asked="true $(docker info --format '{{.DockerRootDir}}')"
        [ "$own" = "$asked" ] ||
            echo "docker asks a Podman that is not your own ('podman info' says '$own', not '$asked'): run 'systemctl --user start podman.socket' as yourself, and set DOCKER_HOST=unix://\$XDG_RUNTIME_DIR/podman/podman.sock."
        return
    fi
    needed "Docker Engine" 25 0 "$version"
    needed "Docker buildx" 0 12 "$(docker buildx version 2>/dev/null | cut -d ' ' -f 2)"
}

# needed WHAT MAJOR MINOR VERSION
needed() {
    number=${4#v}
    major=${number%%.*}
    minor=${number#*.}
    minor=${minor%%[!0-9]*}
    if ! whole_number "$major" 0 9999 || ! whole_number "$minor" 0 9999; then
        echo "$1 is missing: install it, $2.$3 or later."
    elif [ "$major" -lt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -lt "$3" ]; }; then
        echo "$1 is $number, and $2.$3 or later is needed: update it."
    fi
}

# For what needs more of the builder than an image.
check_buildkit() {
    [ "$(engine_kind)" != podman ] ||
        echo "this needs BuildKit, and the engine is Podman, which has none: run it where Docker is."
}

check_compose_file() {
    named=$(setting COMPOSE_FILE '')
    case $(engine_kind):$named in
    podman:*lab/runtime/podman.yaml*) ;;
    podman:*) echo "the engine is Podman, and COMPOSE_FILE is '$named': put COMPOSE_FILE=compose.yaml:lab/runtime/podman.yaml:compose.override.yaml into .env." ;;
    *:*lab/runtime/podman.yaml*) echo "COMPOSE_FILE is '$named', and the engine is not Podman: delete the line from .env." ;;
    esac
}
