# Finds the kind of the container engine.
# shellcheck shell=sh

# engine_kind: print docker, rootless (Docker without root) or podman. Print docker if no engine answers.
engine_kind() {
    if [ -n "${engine:-}" ]; then
        echo "$engine" # the answer of an earlier call
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
