# Links the files that stay after a restart, because they are on the volume `kept`.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

# Histories and an editor's server are on a volume, in a folder for each uid.
kept=/var/lib/lab/$uid
own "$kept"
mkdir -p "$kept/.vscode-server"
# Keep only the name and email address from git's settings. Other settings, such as an alias, could run a program after the next
# start.
if [ -f "$kept/.gitconfig" ] && [ ! -L "$kept/.gitconfig" ]; then
    for key in user.name user.email; do
        value=$(git config --file "$kept/.gitconfig" "$key") || continue
        git config --file /run/lab/gitconfig "$key" "$value"
    done
fi
rm -rf "$kept/.gitconfig" "$kept/.gitconfig.lock"
[ ! -e /run/lab/gitconfig ] || cp /run/lab/gitconfig "$kept/.gitconfig" || true
for path in .gitconfig .bash_history .ipython/profile_default/history.sqlite .vscode-server; do
    parent=$(dirname "$HOME/$path")
    # Your own mount at this path, or above it, stays as it is.
    mkdir -p "$parent" 2>/dev/null || continue
    [ -e "$HOME/$path" ] || [ "$(stat -c %d "$parent")" != "$(stat -c %d "$HOME")" ] || ln -s "$kept/${path##*/}" "$HOME/$path"
done
