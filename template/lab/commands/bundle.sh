#!/bin/sh
# Write NAME-bundle.tar: the project, and all that brings it up and rebuilds it where no network is. The project's files
# are those that git would take; never secrets/, .env and what an editor or a mend left beside it (.env~, .env.bak).
# PKG="NAME ..." adds packages for a later `make add`, WITH_DATA=yes the folder data/.
set -eu
. lab/commands/lib/all.sh

require check_engine check_buildkit check_index check_ca check_folders check_config

slug=$(sed -n 's/^LAB_NAME=//p' sample.env)
lab=$(image lab)
gathered=$(image bundle)
# What builds your own services is in no bundle, and each `make up` would want it.
built=$(docker compose config | awk -v name="${lab%-lab}" '
    /^[^ ]/ { part = $1 }
    part != "services:" { next }
    /^  [^ ]/ { if (image) exit; service = $1; sub(/:$/, "", service) }
    /^    build:/ && service != "lab" { image = name "-" service }
    /^    image:/ && image { image = $2 }
    END { if (image) print service, image }')
[ -z "$built" ] || refuse "service ${built% *} is built here, and a bundle lacks what it is built from: run 'docker compose build ${built% *}', and put 'image: ${built#* }' in place of its 'build:' in compose.override.yaml."

work=.bundle.new
project=$work/$slug
parts=$project/lab/bundle
file=$slug-bundle.tar
rm -rf "$work"
trap 'rm -rf "$work" "$file.new"' EXIT
trap 'exit 130' HUP INT TERM
mkdir -p "$parts" "$project/data" "$project/notebooks" "$project/secrets"

echo "Building what goes into the bundle ..."
build_quietly "$work/log" lab
installed=$(docker run --rm --network none --entrypoint dpkg-query "$lab" \
    --show --showformat '${Package}:${Architecture}=${Version} ')
build_quietly "$work/log" --build-arg BUNDLE_SYSTEM="$installed" --build-arg BUNDLE_PACKAGES="${PKG:-}" bundle
container=$(docker create "$gathered")
docker cp --quiet "$container:/parts/." "$parts"
docker rm "$container" >/dev/null
docker image rm "$gathered" >/dev/null

# Images get names that no other lab's take, and services of compose.override.yaml keep theirs.
base=$(docker compose config --format json | sed -n 's/.*"PYTHON_IMAGE": "\(.*\)",*$/\1/p' | head -n 1)
others=$(docker compose config --images | sort -u | grep -vxF "$lab" || true)
for image in $base $others; do
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" >/dev/null ||
        refuse "image $image is not here and cannot be fetched: run 'docker pull $image'."
done
short() {
    docker image inspect --format '{{.Id}}' "$1" | cut -c 8-19
}
lab_image=$slug-lab:$(short "$lab")
base_image=$slug-base:$(short "$base")
added=
for image in "$lab_image" "$base_image"; do # a restored project is built on its base by this very name
    docker image inspect "$image" >/dev/null 2>&1 || added="$added $image"
done
docker tag "$lab" "$lab_image"
docker tag "$base" "$base_image"
# shellcheck disable=SC2086 # names of images
docker save --output "$parts/images.tar" "$lab_image" "$base_image" $others
# shellcheck disable=SC2086 # the same
[ -z "$added" ] || docker image rm $added >/dev/null
cat >"$parts/contents" <<CONTENTS
lab=$lab_image
base=$base_image
platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
CONTENTS

# The project's files. Where there is no git, all of them but what git would not take.
if [ -e .git ] || git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard >"$work/found"
else
    find . \( -name .git -o -name __pycache__ -o -name .ipynb_checkpoints -o -path './.venv*' -o -path ./.bundle.new \
        -o -path ./data -o -path './*-bundle.tar*' -o -name .DS_Store -o -path ./.sbom.new -o -path ./sbom.cdx.json \
        -o -path ./provenance.json \) -prune -o ! -type d -print0 >"$work/found"
fi
[ "${WITH_DATA:-}" != yes ] || find data ! -type d -print0 >>"$work/found"
# shellcheck disable=SC2016 # for the inner shell
xargs -0 sh -c 'for file; do
    case ${file#./} in secrets/.gitkeep | lab/bundle/.gitkeep) ;; .env* | secrets/* | lab/bundle/*) continue ;; esac
    if [ -e "$file" ] || [ -L "$file" ]; then printf "%s\0" "$file"; fi
done' sh <"$work/found" >"$work/files"
tar -cf "$work/files.tar" --null -T "$work/files"
tar -xf "$work/files.tar" -C "$project"

(cd "$project" && find . -path ./lab/bundle -prune -o -type f -exec sha256sum {} + >lab/bundle/project.sha256)
(cd "$parts" && find . -type f ! -name project.sha256 -exec sha256sum {} +) >"$work/sums"
mv "$work/sums" "$parts/SHA256SUMS"
tar -cf "$file.new" -C "$work" "$slug"
mv "$file.new" "$file"
echo "Wrote $file, $(($(wc -c <"$file") / 1000000)) MB, SHA-256 $(sha256sum "$file" | cut -d ' ' -f 1)."
echo "There: tar xf $file && cd $slug && make restore"
