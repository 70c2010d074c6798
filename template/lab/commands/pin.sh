#!/bin/sh
# Writes the base image's digest and the current versions of the Debian packages into compose.pins.yaml.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone pin
. lab/commands/lib/all.sh
. lab/commands/lib/pins.sh

pins=compose.pins.yaml
require check_engine check_buildkit check_path check_index check_ca
default=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
image=$(setting PYTHON_IMAGE "$default")
case $image in *@*) refuse "PYTHON_IMAGE is '$image', but the digest belongs in $pins. Remove '@${image#*@}' from PYTHON_IMAGE in .env." ;; esac

work=$(mktemp -d)
[ ! -e "$pins" ] || cp -p "$pins" "$work/before"
# After a failure, the file has its old content again.
trap 'if [ -e "$work/before" ]; then cp -p "$work/before" "$pins"; else rm -f "$pins"; fi; rm -rf "$work"; unlock' EXIT
trap 'exit 130' HUP INT TERM

# packages IMAGE: print NAME=VERSION of every Debian package in IMAGE.
packages() {
    # shellcheck disable=SC2016 # dpkg's own variables
    docker run --rm --network none --entrypoint dpkg-query "$1" --show --showformat '${Package}=${Version}\n' >"$work/listed"
    LC_ALL=C sort "$work/listed" # in a pipe, a failure of the first command would go unnoticed
}

# (If a format begins with `.Manifest`, buildx prints a table. `print` prevents this.)
digest=$(docker buildx imagetools inspect --format '{{print .Manifest.Digest}}' "$image" 2>"$work/log") ||
    refuse "the digest of $image cannot be looked up ($(sed 's/^ERROR: //' "$work/log" | tail -n 1)). Set PYTHON_IMAGE in .env to an image in a registry."
base="\${PYTHON_IMAGE:-$default}@$digest"
pinned "$base" "" >"$pins"
require check_config
echo "Building on $image@$digest with the current Debian packages ..."
quietly "$work/log" build lab
quietly "$work/log" build packages
packages "$image@$digest" >"$work/base"
packages "$(image lab)" >"$work/lab"
packages "$(image packages)" >"$work/packages"
new=$(LC_ALL=C comm -13 "$work/base" "$work/lab")
new_build=$(LC_ALL=C comm -13 "$work/base" "$work/packages")
pinned "$base" "$new" "$new_build" >"$pins"
cp -p "$pins" "$work/before"
echo "Pinned in $pins: $image@$digest. Debian packages: $(printf "%s\n" "$new" "$new_build" | grep -c . || true). Commit the file; 'make up' builds with it."
