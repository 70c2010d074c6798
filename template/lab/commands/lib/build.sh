# Builds images and finds the reason if a build fails.
# shellcheck shell=sh

# build [SERVICE]: build the image of one service, or of all.
build() {
    if [ "$(engine_kind)" = podman ]; then
        build_with_podman "${1:-lab}"
    else
        docker compose build "$@"
    fi
}

# build_with_podman STAGE: Compose needs BuildKit for the secrets. Podman has no BuildKit, so its own builder does it.
build_with_podman() {
    stage=$1
    set -- --secret "id=ca,src=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)"
    [ -z "$PIP_INDEX_URL" ] || set -- "$@" --secret id=index,env=PIP_INDEX_URL
    while read -r argument; do
        [ -z "${argument#*=}" ] || set -- "$@" --build-arg "$argument"
    done <<ARGUMENTS
$(build_arguments "$stage")
ARGUMENTS
    podman build "$@" --target "$stage" --tag "docker.io/library/$(image "$stage")" .
}

# build_arguments SERVICE: a line NAME=VALUE for each build argument, those of compose.override.yaml included.
build_arguments() {
    docker compose --profile '*' config |
        sed -n "/^  $1:/,/^  [^ ]/p" |
        sed -n '/^      args:/,/^      [^ ]/s/^        \([A-Za-z0-9_]*\): "\{0,1\}\([^"]*\)"\{0,1\}$/\1=\2/p'
}

# build_quietly LOG WORD...: `build WORD...`. It shows the output only if the build fails, and ends the script then.
build_quietly() {
    log=$1
    shift
    if ! build "$@" >"$log" 2>&1; then
        cat "$log" >&2
        refuse_build "$log"
    fi
}

# refuse_build LOG: end the script with the reason for which the build failed.
refuse_build() {
    refuse "the image was not built: $(build_failure "$1")"
}

# build_failure LOG: the reason. The Dockerfile's steps print their own, in a line with "labdock: " (lab/build/attempt.py).
build_failure() {
    reason=$(sed -n 's/.*labdock: //p' "$1" | tail -n 1)
    if [ -n "$reason" ]; then
        echo "$reason"
    elif grep -q 'no space left on device' "$1"; then
        echo "the disk is full. Run 'docker system prune' to free space."
    elif grep -q 'invalid reference format' "$1"; then
        echo "PYTHON_IMAGE is '$(setting PYTHON_IMAGE)', and compose.pins.yaml adds a digest to it. Set it to a name without a digest in .env."
    elif grep -q 'failed to resolve source metadata' "$1"; then
        image=$(sed -n 's/.*failed to solve: \(.*\): failed to resolve source metadata.*/\1/p' "$1" | tail -n 1)
        case $image in
        *@*) echo "the base image $image cannot be pulled. Set PYTHON_IMAGE to another image in .env, or run 'make pin' to pin another digest." ;;
        *) echo "the base image $image cannot be pulled. Set PYTHON_IMAGE to another image in .env." ;;
        esac
    else
        echo "see the lines above."
    fi
}
