#!/bin/sh
# Copies the project's files into another folder: `xargs -0 sh copy_files.sh FOLDER`. Leaves out settings, secrets, the files of
# another bundle, and the ._NAME files of macOS.
set -eu

folder=$1
shift
for file; do
    shift
    name=${file#./}
    # Some answers to Copier's questions add folders with secrets.
    case " ${secret_folders:-} " in *" ${name%%/*} "*) [ "${name#*/}" = .gitignore ] || continue ;; esac
    case $name in
    secrets/.gitkeep | lab/bundle/.gitkeep) ;;
    data | notebooks | secrets) continue ;; # a link: the caller also lists the linked files that the bundle needs
    .env* | secrets/* | lab/bundle/* | ._* | */._*) continue ;;
    esac
    if [ -d "$file" ] && [ ! -L "$file" ]; then
        echo "labdock: $file is a git repository of its own, so the bundle does not contain it. Copy it to the other machine by hand." >&2
        continue
    fi
    # git also lists files that were deleted.
    if [ -e "$file" ] || [ -L "$file" ]; then set -- "$@" "./${file#./}"; fi
done
[ $# != 0 ] || exit 0
tar -cf "$folder.tar" "$@"
tar -xf "$folder.tar" -C "$folder"
rm "$folder.tar"
