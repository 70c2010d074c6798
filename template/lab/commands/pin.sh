#!/bin/sh
# Write the base image's digest and the versions of the distribution's packages, as they are now, into compose.pins.yaml.
set -eu
. lab/commands/lib/all.sh

pins=compose.pins.yaml
require check_engine check_buildkit check_index check_ca
default=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
image=$(setting PYTHON_IMAGE "$default")
case $image in *@*) refuse "PYTHON_IMAGE is '$image': leave out the digest in .env, $pins keeps it." ;; esac

work=$(mktemp -d)
[ ! -e "$pins" ] || cp -p "$pins" "$work/before"
# What fails leaves the file as it was.
trap '[ ! -e "$work/before" ] || cp -p "$work/before" "$pins"; rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# pinned DIGEST PACKAGES: the whole file.
pinned() {
    cat <<EOF
# Which base image and packages of the distribution are built on; \`make pin\` writes them down. Commit this file.
# Nothing else belongs here: compose.yaml takes this service's build arguments.
services:
  pinned:
    build:
      args:
        PYTHON_IMAGE: \${PYTHON_IMAGE:-$default}@$1
EOF
    if [ -z "$2" ]; then
        echo '        DEBIAN_PINS: ""'
    else
        echo '        DEBIAN_PINS: >-'
        printf '%s\n' "$2" | sed 's/^/          /'
    fi
}

# packages IMAGE: name=version of every package in it.
packages() {
    # shellcheck disable=SC2016 # dpkg's own variables
    docker run --rm --network none --entrypoint dpkg-query "$1" --show --showformat '${Package}=${Version}\n' >"$work/listed"
    LC_ALL=C sort "$work/listed" # no pipe, which would hide that the image did not run
}

docker buildx imagetools inspect "$image" >"$work/log" 2>&1 ||
    refuse "no registry tells the digest of $image ($(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)): name one that does in .env, PYTHON_IMAGE."
digest=$(sed -n 's/^Digest: *//p' "$work/log" | head -n 1)

pinned "$digest" "" >"$pins"
problem=$(check_config)
[ -z "$problem" ] || refuse "$problem"
echo "Building on $image@$digest with the packages that the mirror has now ..."
if ! docker compose build lab >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    reason=$(sed -n 's/.*labdock: //p' "$work/log" | tail -n 1)
    refuse "the image was not built: ${reason:-the lines above say why.}"
fi
packages "$image@$digest" >"$work/base"
packages "$(image lab)" >"$work/lab"
new=$(LC_ALL=C comm -13 "$work/base" "$work/lab")
pinned "$digest" "$new" >"$pins"
cp -p "$pins" "$work/before"
echo "Pinned in $pins: $image@$digest; packages: $(printf '%s\n' "$new" | grep -c .). Commit it; 'make up' builds from it."
