# Links the files that stay after a restart, because they are on the volume `kept`.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

# own FOLDER: make this uid's folder in a volume. Another user of this volume could have created a file or link with this name.
own() {
    error=$(mkdir -m 700 "$1" 2>&1) || [ -e "$1" ] || [ -L "$1" ] ||
        refuse "the lab cannot write its volume ($error). Free space on the disk of the container engine, then run 'make up'."
    owner=$(stat -c %u "$1")
    [ "$owner" = "$uid" ] ||
        refuse "in the lab's volume, the folder for uid $uid belongs to uid $owner. Run 'make reset' to delete all folders of this volume and start again."
    { [ -d "$1" ] && [ ! -L "$1" ] && chmod 700 "$1"; } ||
        refuse "in the lab's volume, $1 is not a folder. Run 'make reset' to delete the volume and start again."
}
# Histories, the front end's settings and an editor's server are on a volume, in a folder for each uid.
kept=/var/lib/lab/$uid
own "$kept"
mkdir -p "$kept/lab" "$kept/.vscode-server"
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
for path in .gitconfig .bash_history .ipython/profile_default/history.sqlite .jupyter/lab .vscode-server; do
    parent=$(dirname "$HOME/$path")
    # Your own mount at this path, or above it, stays as it is.
    mkdir -p "$parent" 2>/dev/null || continue
    [ -e "$HOME/$path" ] || [ "$(stat -c %d "$parent")" != "$(stat -c %d "$HOME")" ] || ln -s "$kept/${path##*/}" "$HOME/$path"
done
# Write JupyterLab's list of open tabs, so that it opens the README at a user's first start.
if [ -e "$HOME/notebooks/README.md" ] && mkdir "$kept/lab/workspaces" 2>/dev/null; then
    cat /opt/labdock/workspace.json >"$kept/lab/workspaces/default-37a8.jupyterlab-workspace"
fi
