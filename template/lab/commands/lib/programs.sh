# Runs the Python programs of lab/build in containers, so this machine needs only Docker.
# shellcheck shell=sh

# sealed WORD...: call `docker run` without a network and without capabilities. The filesystem is read-only.
sealed() {
    docker run --rm --interactive --network none --read-only --cap-drop ALL --security-opt no-new-privileges:true "$@"
}

# program NAME WORD...: run lab/build/NAME in the image `packages`, which must be built.
program() {
    name=$1
    shift
    sealed --entrypoint python3 "$(image packages)" -I "/build/$name" "$@"
}
