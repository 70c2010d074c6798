#!/bin/sh
# Bring the lab up from a bundle (`make bundle`) that was unpacked here. Everything is verified first; no network is asked.
set -eu
. lab/commands/lib/all.sh

# intact FOLDER SUMS: refuse what is not as it was when the bundle was made.
intact() {
    if ! found=$(cd "$1" && sha256sum -c "$2" 2>/dev/null); then
        bad=$(printf '%s\n' "$found" | sed -n 's/: FAILED.*//p' | head -n 1)
        refuse "${bad:-$1/$2} is not what the bundle was made with: unpack the bundle again, or copy it again."
    fi
}

# part NAME: a line of the bundle's list of contents.
part() {
    sed -n "s/^$1=//p" lab/bundle/contents
}

[ -f lab/bundle/SHA256SUMS ] ||
    refuse "lab/bundle holds no bundle: unpack one with 'tar xf NAME-bundle.tar' and run this in its folder."
for check in check_engine check_buildkit; do
    problem=$($check)
    [ -z "$problem" ] || refuse "$(printf '%s\n' "$problem" | head -n 1)"
done
intact lab/bundle SHA256SUMS
# The project's own files are yours from the first time on.
if [ -f lab/bundle/project.sha256 ]; then
    intact . lab/bundle/project.sha256
fi
platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}')
[ "$platform" = "$(part platform)" ] ||
    refuse "this engine runs $platform, the bundle is for $(part platform): make one on such a machine."

chmod -R a+rX lab/bundle # whatever the umask was, `make add` reads it as the lab's user
docker load --quiet --input lab/bundle/images.tar
[ -e .env ] || sh lab/commands/env.sh
# The base image has another name in each bundle. All else in an .env that was there stays as it is.
trap 'rm -f .env.new' EXIT
trap 'exit 130' HUP INT TERM
(umask 077 && LC_ALL=C awk -v line="PYTHON_IMAGE=$(part base)" '
    /^[ \t]*(export[ \t]+)?PYTHON_IMAGE[ \t]*[=:]/ { $0 = line; found = 1 }
    { print }
    END { if (!found) print line }' .env >.env.new)
cat .env.new >.env # owner and mode stay
rm .env.new
. lab/commands/lib/all.sh # the settings anew
docker tag "$(part lab)" "$(image lab)"
docker image rm "$(part lab)" >/dev/null
rm -f lab/bundle/project.sha256
# The bundle's base image is the pinned one, and no registry is there to ask for its digest: that holds again once
# PYTHON_IMAGE is empty.
sed 's/}\(@sha256:[0-9a-f]*\)$/\1}/' compose.pins.yaml >lab/bundle/pins
cat lab/bundle/pins >compose.pins.yaml
rm lab/bundle/pins
exec sh lab/commands/up.sh --no-build
