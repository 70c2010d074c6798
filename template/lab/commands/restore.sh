#!/bin/sh
# Starts the lab from a bundle (`make bundle`) that was unpacked into this folder. Checks every file first. Needs no network.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone restore
. lab/commands/lib/all.sh
. lab/commands/lib/sha256.sh

# intact FOLDER SUMS: end the script if a file in FOLDER does not match its checksum in SUMS.
intact() {
    if ! found=$(cd "$1" && LC_ALL=C $sha256 -c "$2" 2>/dev/null); then
        bad=$(printf '%s\n' "$found" | sed -n 's/: FAILED.*//p' | head -n 1)
        refuse "${bad:-$1/$2} differs from the file that was bundled. Unpack the bundle again. If the same error comes again, copy the bundle again."
    fi
}

# part NAME: print the value of NAME in the bundle's list of contents.
part() {
    sed -n "s/^$1=//p" lab/bundle/contents
}

[ -f lab/bundle/SHA256SUMS ] ||
    refuse "lab/bundle is empty. Unpack a bundle with 'tar xf NAME-bundle.tar', then run 'make restore' in the folder that tar creates."
require check_engine check_buildkit check_sha256
intact lab/bundle SHA256SUMS
# Check the project's own files only once, because you may change these files later.
if [ -f lab/bundle/project.sha256 ]; then
    intact . lab/bundle/project.sha256
fi
platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
[ "$platform" = "$(part platform)" ] ||
    refuse "the engine runs $platform, but the bundle is for $(part platform). Make a bundle on a machine with $platform."

chmod -R a+rX lab/bundle # `make add` may read these files as another user, so everyone needs read access
docker load --quiet --input lab/bundle/images.tar
[ -e .env ] || sh lab/commands/env.sh
# The base image has another name in each bundle. All other lines of .env stay as they are.
trap 'rm -f .env.new; unlock' EXIT
trap 'exit 130' HUP INT TERM
cp -p .env .env.new # keeps owner and mode
LC_ALL=C awk -v line="PYTHON_IMAGE=$(part base)" '
    /^[ \t]*(export[ \t]+)?PYTHON_IMAGE[ \t]*[=:]/ { $0 = line; found = 1 }
    { print }
    END { if (!found) print line }' .env >.env.new
mv .env.new .env
. lab/commands/lib/read_settings.sh # .env has changed
docker tag "$(part lab)" "$(image lab)"
docker image rm "$(part lab)" >/dev/null
rm -f lab/bundle/project.sha256
exec sh lab/commands/up.sh --no-build
