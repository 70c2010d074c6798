# Builds images, and finds the reason if a build fails.
# shellcheck shell=sh

# build [SERVICE]: build the image of one service, or of all services.
build() {
    if [ "$(engine_kind)" = podman ]; then
        build_with_podman "${1:-lab}"
    else
        docker compose build "$@"
    fi
}

# build_with_podman STAGE: Compose needs BuildKit for build secrets, and Podman has no BuildKit. So Podman's own builder
# builds the image.
build_with_podman() {
    stage=$1
    set -- --secret "id=ca,src=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)"
    [ -z "$PIP_INDEX_URL" ] || set -- "$@" --secret id=index,env=PIP_INDEX_URL
    arguments=$(build_arguments "$stage") || return 1
    while read -r argument; do
        [ -z "$argument" ] || set -- "$@" --build-arg "$argument"
    done <<ARGUMENTS
$arguments
ARGUMENTS
    podman build "$@" --target "$stage" --tag "docker.io/library/$(image "$stage")" .
}

# build_arguments SERVICE: print a line NAME=VALUE for each build argument, also for arguments in compose.override.yaml.
build_arguments() {
    docker compose --profile '*' config --format json |
        podman run --rm --interactive --network none "$(setting PYTHON_IMAGE "$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)")" \
            python3 -I -c "$(cat lab/build/compose_config.py)" arguments "$1"
}

# quietly LOG COMMAND...: run a command that builds. If it fails, show the end of its output and the reason, and end the script.
quietly() {
    log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        refuse_build "$log"
    fi
}

# bake WORD...: run `docker buildx bake` with the Compose configuration. The builds are the same, but the outputs differ.
bake() {
    docker compose --profile bundle config |
        BUILDX_BAKE_ENTITLEMENTS_FS=0 docker buildx bake --file - --progress plain "$@"
}

# refuse_build LOG [REASON]: end the script with the reason that the log shows. If there is none, use REASON.
refuse_build() {
    refuse "the image was not built: $(build_failure "$1" "${2:-}")"
}

# build_failure LOG REASON: print the reason. A step of the Dockerfile prints its reason in a line with "labdock: "
# (lab/build/run_and_explain.py). If the log shows no reason, print REASON.
build_failure() {
    reason=$(sed -n 's/.*labdock: //p' "$1" | tail -n 1)
    if [ -n "$reason" ]; then
        echo "$reason"
    elif [ -n "$2" ]; then
        echo "$2"
    elif grep -q 'no space left on device' "$1"; then
        echo "the disk is full. Run 'docker system prune' to free space."
    elif grep -q 'invalid reference format' "$1"; then
        echo "PYTHON_IMAGE is '$(setting PYTHON_IMAGE)', but the digest comes from compose.pins.yaml. In .env, set PYTHON_IMAGE to a name without a digest."
    elif grep -q 'failed to resolve source metadata' "$1"; then
        image=$(sed -n 's/.*failed to solve: \(.*\): failed to resolve source metadata.*/\1/p' "$1" | tail -n 1)
        case $image in
        *@*) echo "the pinned base image $image cannot be pulled. Set PYTHON_IMAGE to another image in .env, or run 'make pin' to pin another digest." ;;
        *) echo "the base image $image cannot be pulled. Set PYTHON_IMAGE to another image in .env." ;;
        esac
    else
        echo "a step of the build failed. Read its error in the lines above."
    fi
}
