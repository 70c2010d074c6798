#!/bin/sh
# Builds the image twice (or BUILDS times) without a cache, and compares the results. Names the files that differ.
set -eu
. lab/commands/lib/all.sh
. lab/commands/lib/programs.sh

require check_engine check_buildkit check_path check_index check_ca check_config
builds=${BUILDS:-2}
whole_number "$builds" 2 99 || refuse "BUILDS is '$builds', not a number from 2 to 99. Run 'make verify BUILDS=2'."
epoch=${SOURCE_DATE_EPOCH:-315532800} # no file gets a later date. The default is 1980-01-01, the earliest date in a zip archive

work=$(mktemp -d)
# Each build has empty caches. Otherwise it would reuse files that an earlier build downloaded or compiled.
cache=verify-$$-$(checkout_number)
clear_caches() {
    docker buildx prune --force --filter type=exec.cachemount --filter "description~=$cache" >/dev/null 2>&1 || true
}
trap 'clear_caches; rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# build_image NUMBER: build the image as `make up` does, but with one fixed date and without Compose's labels. Write the
# image into the folder NUMBER.
build_image() {
    bake --no-cache --provenance=false --sbom=false \
        --set "lab.output=type=oci,tar=false,dest=$work/$1,rewrite-timestamp=true,compression=uncompressed" \
        --set "lab.args.SOURCE_DATE_EPOCH=$epoch" \
        --set "lab.args.BUILDKIT_CACHE_MOUNT_NS=$cache-$1" \
        --set "lab.args.BUILDKIT_SANDBOX_HOSTNAME=host-$1" \
        --set lab.tags= lab >"$work/log" 2>&1
}

# compare FILE...: print the digest if the images are equal. Otherwise, print the differences. See lab/build/compare_images.py.
compare() {
    tar -cf - -C "$work" "$@" | program compare_images.py 1 "$number"
}

quietly "$work/log" build packages
number=1
while [ "$number" -le "$builds" ]; do
    echo "Build $number of $builds, from nothing ..."
    if ! build_image "$number"; then
        why=
        if grep -q 'OCI exporter is not supported' "$work/log"; then
            why="this engine cannot write an image to a file. Turn on its containerd image store: https://docs.docker.com/engine/storage/containerd/."
        elif grep -q 'no space left on device' "$work/log"; then
            why="the disk of the engine or of ${TMPDIR:-/tmp} is full. Free some space, or set TMPDIR to a folder on a larger disk. Each build writes a whole image to TMPDIR."
        fi
        tail -n 20 "$work/log" >&2
        refuse_build "$work/log" "$why"
    fi
    clear_caches
    if [ "$number" -gt 1 ]; then
        digest=$(compare 1/index.json "$number/index.json") || {
            compare 1 "$number" || true
            refuse "build $number differs from build 1. The list above names the files that differ."
        }
        rm -rf "${work:?}/$number"
    fi
    number=$((number + 1))
done
echo "All $builds builds are equal. Digest: $digest"
