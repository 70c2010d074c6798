# Makes the server's own folder: sessions, the secret of its cookies, and the front end's settings. No notebook can read it.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid and state

! mountpoint -q /var/lib/server || state=/var/lib/server/$uid
own "$state"
mkdir -p "$state/lab"
# Write JupyterLab's list of open tabs, so that it opens the README at a user's first start.
if [ -e "$HOME/notebooks/README.md" ] && mkdir "$state/lab/workspaces" 2>/dev/null; then
    cat /opt/labdock/workspace.json >"$state/lab/workspaces/default-37a8.jupyterlab-workspace"
fi
