# Replaces the folders that the engine made above your own mounts in home. You can write the new folders.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

# The engine makes the folders above a mount, such as .cache for a mount at .cache/huggingface. These folders belong to
# root. So rename each folder, create a new folder with the old name, and put a link to the mount into the new folder.
for folder in "$HOME"/* "$HOME"/.[!.]*; do
    if [ ! -d "$folder" ] || mountpoint -q "$folder" || [ "$(stat -c %u "$folder")" = "$uid" ]; then continue; fi
    aside=$HOME/.mounted-${folder##*/}
    mv "$folder" "$aside" 2>/dev/null ||
        refuse "$folder belongs to another user and cannot be renamed. Remove your mount at $HOME from compose.override.yaml."
    mounts_below "$aside" | while read -r _ path; do
        target=$folder${path#"$aside"}
        [ ! -e "$target" ] || continue # inside of another mount
        mkdir -p "${target%/*}"
        ln -s "$path" "$target"
    done
done
