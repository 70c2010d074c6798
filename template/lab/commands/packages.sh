#!/bin/sh
# Changes pyproject.toml and the locks: `packages.sh add|remove|sync|lock|outdated|extend`. If a change fails, no file changes.
# PKG contains the names of packages.
# uv does the work in the image `packages`, so this machine needs Docker only.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone "$1"
. lab/commands/lib/all.sh

set -f # do not expand the * in `numpy==2.*` to names of files
# shellcheck disable=SC2086 # PKG contains several words
set -- "$1" ${PKG:-}

engine=$(engine_kind)
require check_engine check_path check_index check_ca check_config
files="pyproject.toml requirements.lock"
extensions=lab/locks/server-extensions.lock # without extensions for the server, this file does not exist
for file in $files; do
    [ -f "$file" ] || refuse "the file $file is missing. Run 'git checkout $file' to get its last committed version."
done

new=$(mktemp -d)
trap 'rm -rf "$new" .pyproject.toml.new .requirements.lock.new "$extensions.new"; unlock' EXIT
trap 'exit 130' HUP INT TERM
[ ! -t 2 ] || echo "Asking the package index; the first time takes a minute ..." >&2
quietly "$new/log" build packages
mkdir "$new/old" "$new/files"
cp pyproject.toml requirements.lock lab/locks/server.lock lab/locks/excluded-packages.txt "$new/old"
cat "$extensions" >"$new/old/server-extensions.lock" 2>/dev/null || true
# The index may contain a password, so it is in the archive. Everyone who can use the engine can read a container's
# environment.
setting PIP_INDEX_URL '' >"$new/old/index"
export COPYFILE_DISABLE=1 # on macOS, tar would add a file ._NAME for each file with extended attributes
tar -cf "$new/old.tar" -C "$new/old" .
docker compose --progress quiet run --rm --no-TTY --no-deps packages "$@" <"$new/old.tar" >"$new/new.tar"
[ -s "$new/new.tar" ] || exit 0
# Write the new files next to the old files first. So if the disk is full, no file changes.
tar -xf "$new/new.tar" -C "$new/files"
for file in $files; do
    cp -p "$file" ".$file.new" # keeps owner and mode
    cat "$new/files/$file" >".$file.new"
done
cat "$new/files/server-extensions.lock" >"$extensions.new"
for file in $files; do
    mv ".$file.new" "$file"
done
if [ -s "$extensions.new" ]; then
    mv "$extensions.new" "$extensions"
else
    rm -f "$extensions"
fi
