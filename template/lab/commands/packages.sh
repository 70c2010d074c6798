#!/bin/sh
# Changes pyproject.toml and requirements.lock, both or neither: `packages.sh add|remove|lock|outdated`. PKG contains the names.
# uv does the work in the image `packages`, so this machine needs Docker only.
set -eu
. lab/commands/lib/all.sh

set -f # "polars>=1 numpy==2.*" is two words, and no pattern for files
# shellcheck disable=SC2086
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
setting PIP_INDEX_URL '' >"$new/old/index" # in the archive, since everybody can read a container's environment
export COPYFILE_DISABLE=1                  # on macOS, tar would add a file ._NAME for each file with extended attributes
tar -cf "$new/old.tar" -C "$new/old" pyproject.toml requirements.lock index
docker compose --progress quiet run --rm --no-TTY --no-deps packages "$@" <"$new/old.tar" >"$new/new.tar"
[ -s "$new/new.tar" ] || exit 0
# Both are written beside the old ones first, so that a full disk changes neither.
tar -xf "$new/new.tar" -C "$new/files"
for file in pyproject.toml requirements.lock; do
    cp -p "$file" ".$file.new" # keeps owner and mode
    cat "$new/files/$file" >".$file.new"
done
for file in pyproject.toml requirements.lock; do
    mv ".$file.new" "$file"
done
