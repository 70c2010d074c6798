#!/bin/sh
# Build the image BUILDS times (2) from nothing and compare the digests; name the files that differ.
set -eu
. lab/commands/lib/all.sh

require check_engine check_buildkit check_index check_ca check_config
builds=${BUILDS:-2}
whole_number "$builds" 2 99 || refuse "BUILDS is '$builds', not a number from 2 to 99: run 'make verify BUILDS=2'."
epoch=${SOURCE_DATE_EPOCH:-315532800} # no file is newer than this; zip archives know no earlier date than 1980

work=$(mktemp -d)
# A cache of its own for each build, so that nothing an earlier one downloaded or compiled is taken for new.
cache=verify-$$-$(checkout_number)
clear_caches() {
    docker buildx prune --force --filter type=exec.cachemount --filter "description~=$cache" >/dev/null 2>&1 || true
}
trap 'clear_caches; rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# build NUMBER: an image in the folder NUMBER, made as `make up` makes it, but without dates and Compose's labels.
build() {
    failed=
    docker compose config | BUILDX_BAKE_ENTITLEMENTS_FS=0 docker buildx bake --file - \
        --no-cache --provenance=false --sbom=false --progress plain --metadata-file "$work/$1.json" \
        --set "lab.output=type=oci,tar=false,dest=$work/$1,rewrite-timestamp=true,compression=uncompressed" \
        --set "lab.args.SOURCE_DATE_EPOCH=$epoch" \
        --set "lab.args.BUILDKIT_CACHE_MOUNT_NS=$cache-$1" \
        --set "lab.args.BUILDKIT_SANDBOX_HOSTNAME=host-$1" \
        --set lab.tags= lab >"$work/log" 2>&1 || failed=yes
    clear_caches
    [ -z "$failed" ]
}

# digests FILE: every digest that a manifest names, the image's settings first, then its layers.
digests() {
    tr ',' '\n' <"$1" | sed -n 's/.*"digest": *"sha256:\([0-9a-f]*\)".*/\1/p'
}

# manifest FOLDER: the path of its one image's manifest.
manifest() {
    echo "$1/blobs/sha256/$(digests "$1/index.json" | head -n 1)"
}

# instruction NUMBER: what of the Dockerfile made this layer.
instruction() {
    settings_file=$work/1/blobs/sha256/$(digests "$(manifest "$work/1")" | head -n 1)
    awk '{gsub(/\{"created"/, "\n&"); print}' "$settings_file" |
        awk -v number="$1" '/^\{"created":/ && !/"empty_layer":true/ && ++layer == number' |
        sed 's/.*"created_by":"//; s/ # buildkit".*//; s/^RUN .*sh -c /RUN /; s/"}.*//'
}

# contents LAYER FOLDER: a line for each entry of a layer, with all that makes it differ from another, its name last.
contents() {
    mkdir "$2"
    tar -xf "$1" -C "$2"
    tar -tvf "$1" # mode, owner, size, date, target of a link
    (cd "$2" && find . -type f -exec cksum {} + | sed 's# \./# #')
    chmod -R u+rwX "$2"
    rm -rf "$2"
}

# compare NUMBER: name what differs between the first image and this one.
compare() {
    digests "$(manifest "$work/1")" >"$work/first"
    digests "$(manifest "$work/$1")" >"$work/second"
    layer=0
    paste -d ' ' "$work/first" "$work/second" | tail -n +2 | while read -r first second; do
        layer=$((layer + 1))
        [ "$first" != "$second" ] || continue
        contents "$work/1/blobs/sha256/$first" "$work/files" | sort >"$work/first.files"
        contents "$work/$1/blobs/sha256/$second" "$work/files" | sort >"$work/second.files"
        comm -3 "$work/first.files" "$work/second.files" | sed 's/ -> .*//; s/ link to .*//; s/.* //; s#^[./]*#/#' |
            sort -u >"$work/names"
        [ -s "$work/names" ] || echo "the order of its files" >"$work/names"
        echo "layer $layer, $(instruction "$layer"):"
        sed 's/^/  /' "$work/names"
    done >"$work/report"
    [ -s "$work/report" ] || echo "the image's settings (docker image inspect), no file" >"$work/report"
}

number=1
while [ "$number" -le "$builds" ]; do
    echo "Build $number of $builds, from nothing ..."
    if ! build "$number"; then
        tail -n 20 "$work/log" >&2
        reason=$(sed -n 's/.*labdock: //p' "$work/log" | tail -n 1)
        if grep -q 'OCI exporter is not supported' "$work/log"; then
            reason="this engine keeps no images that can be compared: turn on its containerd image store, https://docs.docker.com/engine/storage/containerd/."
        elif grep -q 'no space left on device' "$work/log"; then
            reason="the disk is full: free some; each build needs as much as the image in ${TMPDIR:-/tmp} (TMPDIR)."
        fi
        refuse "the image was not built: ${reason:-the lines above say why.}"
    fi
    digest=$(sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' "$work/$number.json")
    if [ "$number" -gt 1 ]; then
        if [ "$digest" != "$expected" ]; then
            compare "$number"
            cat "$work/report"
            refuse "build $number differs from the first in what is listed above ($expected, then $digest)."
        fi
        rm -rf "${work:?}/$number"
    else
        expected=$digest
    fi
    number=$((number + 1))
done
echo "$builds builds, one digest: $expected"
