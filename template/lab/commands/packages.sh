#!/bin/sh
# Changes pyproject.toml and requirements.lock; if one change fails, neither file changes: `packages.sh add|remove|lock|outdated`.
# PKG contains the names.
# uv does the work in the image `packages`, so this machine needs Docker only.
set -eu
. lab/commands/lib/all.sh

set -f # do not expand the * in `numpy==2.*` to names of files
# shellcheck disable=SC2086 # PKG contains several words
set -- "$1" ${PKG:-}

engine=$(engine_kind)
require check_engine check_index check_ca check_config
for file in pyproject.toml requirements.lock; do
    [ -f "$file" ] || refuse "the file $file is missing. Run 'git checkout $file' to get its last committed version."
done

new=$(mktemp -d)
trap 'rm -rf "$new" .pyproject.toml.new .requirements.lock.new' EXIT
trap 'exit 130' HUP INT TERM
[ ! -t 2 ] || echo "Asking the package index; the first time takes a minute ..." >&2
quietly "$new/log" build packages
mkdir "$new/old" "$new/files"
cp pyproject.toml requirements.lock "$new/old"
# The index, which may contain a password, is in the archive. Everyone who can use the engine can read a container's
# environment.
setting PIP_INDEX_URL '' >"$new/old/index"
export COPYFILE_DISABLE=1 # on macOS, tar would add a file ._NAME for each file with extended attributes
tar -cf "$new/old.tar" -C "$new/old" pyproject.toml requirements.lock index
docker compose --progress quiet run --rm --no-TTY --no-deps packages "$@" <"$new/old.tar" >"$new/new.tar"
[ -s "$new/new.tar" ] || exit 0
# Write both new files next to the old files first. So if the disk is full, neither file changes.
tar -xf "$new/new.tar" -C "$new/files"
for file in pyproject.toml requirements.lock; do
    cp -p "$file" ".$file.new" # keeps owner and mode
    cat "$new/files/$file" >".$file.new"
done
for file in pyproject.toml requirements.lock; do
    mv ".$file.new" "$file"
done
