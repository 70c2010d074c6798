#!/bin/sh
# Writes NAME-bundle.tar: the project, and everything that is needed to run and rebuild the lab offline.
# It contains the project's files that git does not ignore. It never contains .env or the token. PKG="NAME ..." adds packages
# for a later `make add`. WITH_DATA=yes adds the folder data/.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone bundle
. lab/commands/lib/all.sh
. lab/commands/lib/programs.sh
. lab/commands/lib/pins.sh
. lab/commands/lib/sha256.sh
. lab/commands/lib/copy_project.sh

require check_engine check_buildkit check_path check_index check_ca check_folders check_config check_sha256

slug=$(sed -n 's/^LAB_NAME=//p' sample.env)
lab=$(image lab)
work=.bundle.new
project=$work/$slug
parts=$project/lab/bundle
file=$slug-bundle.tar
tags= # names of images that only this command needs
clean() {
    # shellcheck disable=SC2086 # names of images
    [ -z "$tags" ] || docker image rm $tags >/dev/null 2>&1 || true
    rm -rf "$work" "$file.new"
    unlock
}
trap clean EXIT
trap 'exit 130' HUP INT TERM
rm -rf "$work"
mkdir -p "$parts" "$project/data" "$project/notebooks" "$project/secrets"
export COPYFILE_DISABLE=1 # on macOS, tar would add a file ._NAME for each file with extended attributes

echo "Building what goes into the bundle ..."
quietly "$work/log" build packages
docker compose config --format json >"$work/config"
# `make up` builds each service that has a `build:`. A bundle does not contain the files for such a build, so your own
# services can only name an image.
built=$(program compose_config.py built <"$work/config")
if [ -n "$built" ]; then
    read -r service image <<BUILT
$built
BUILT
    refuse "service $service has a 'build:', but a bundle does not contain the files for that build. Run 'docker compose build $service', then replace this 'build:' with 'image: $image' in compose.override.yaml."
fi
others=$(docker compose config --images | sort -u | grep -vxF "$lab" || true)
for image in $others; do
    # Docker writes no digest into an archive, so the other machine could not find the image.
    case $image in *@*) refuse "a service uses the image $image, and a bundle cannot contain its digest. Remove '@${image#*@}' from compose.override.yaml." ;; esac
done
program compose_config.py arguments lab <"$work/config" >"$work/arguments"
base=$(sed -n 's/^PYTHON_IMAGE=//p' "$work/arguments")
pins=$(sed -n 's/^DEBIAN_PINS=//p' "$work/arguments")
build_pins=$(sed -n 's/^DEBIAN_BUILD_PINS=//p' "$work/arguments")

quietly "$work/log" build lab
# shellcheck disable=SC2016 # dpkg's own variables
installed=$(docker run --rm --network none --entrypoint dpkg-query "$lab" \
    --show --showformat '${Package}:${Architecture}=${Version} ')
quietly "$work/log" bake --set bundle.target=bundle-files --set "bundle.output=type=local,dest=$parts" --set bundle.tags= \
    --set "bundle.args.BUNDLE_SYSTEM=$installed" --set "bundle.args.BUNDLE_PACKAGES=${PKG:-}" bundle

for image in $base $others; do
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" >/dev/null ||
        refuse "image $image is not on this machine and cannot be pulled. Run 'docker pull $image' to see the reason."
done
# In the archive, the lab's image and its base image have names that no other lab uses. Other images keep their names.
short() {
    docker image inspect --format '{{.Id}}' "$1" | cut -c 8-19
}
lab_image=$slug-lab:$(short "$lab")
base_image=$slug-base:$(short "$base")
# Remove these names at the end. Keep names that exist already, because a restored project uses such a name for its base
# image.
for image in "$lab_image" "$base_image"; do
    docker image inspect "$image" >/dev/null 2>&1 || tags="$tags $image"
done
docker tag "$lab" "$lab_image"
docker tag "$base" "$base_image"
# shellcheck disable=SC2086 # names of images
docker save --output "$parts/images.tar" "$lab_image" "$base_image" $others
cat >"$parts/contents" <<CONTENTS
lab=$lab_image
base=$base_image
platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
CONTENTS

copy_project "$project" "$work"
# A restored project sets PYTHON_IMAGE to the bundle's base image. An offline machine cannot check a digest. So
# compose.pins.yaml uses the digest only if PYTHON_IMAGE is not set.
case $base in
*@*)
    default=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
    pinned "\${PYTHON_IMAGE:-$default@${base#*@}}" "$pins" "$build_pins" >"$project/compose.pins.yaml"
    ;;
esac

# shellcheck disable=SC2086 # a command and its options
(cd "$project" && find . -path ./lab/bundle -prune -o -type f -exec $sha256 {} + >lab/bundle/project.sha256)
# shellcheck disable=SC2086 # a command and its options
(cd "$parts" && find . -type f ! -name project.sha256 -exec $sha256 {} +) >"$work/sums"
mv "$work/sums" "$parts/SHA256SUMS"
tar -cf "$file.new" -C "$work" "$slug"
mv "$file.new" "$file"
echo "Wrote $file, $(($(wc -c <"$file") / 1000000)) MB, SHA-256 $($sha256 "$file" | cut -d ' ' -f 1)."
echo "On the other machine: tar xf $file && cd $slug && make restore"
