# What the builder makes besides the lab's image, and the programs of lab/build. It needs BuildKit, so not Podman.
# shellcheck shell=sh

# bake WORD...: `docker buildx bake` with the Compose configuration: the same builds, with other outputs.
bake() {
    docker compose --profile bundle config |
        BUILDX_BAKE_ENTITLEMENTS_FS=0 docker buildx bake --file - --progress plain "$@"
}

# not_built LOG [REASON]: end with the reason that a step of the Dockerfile gave, else with REASON.
not_built() {
    tail -n 20 "$1" >&2
    reason=$(sed -n 's/.*labdock: //p' "$1" | tail -n 1)
    refuse "the image was not built: ${reason:-${2:-see the lines above.}}"
}

# sealed WORD...: `docker run` without a network, capabilities or a file system that can be written.
sealed() {
    docker run --rm --interactive --network none --read-only --cap-drop ALL --security-opt no-new-privileges:true "$@"
}

# program NAME WORD...: run lab/build/NAME in the image `packages`, which must be built.
program() {
    name=$1
    shift
    sealed --entrypoint python3 "$(image packages)" -I "/build/$name" "$@"
}
