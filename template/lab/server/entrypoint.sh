#!/bin/sh
# Checks what the lab stands on, then starts the server. `prepare` makes the token instead; what fails is one sentence.
set -eu

mode=${1:-serve}
token=/run/secrets/jupyter_token
export HOME="/home/$JUPYTER_USERNAME" USER="$JUPYTER_USERNAME" LOGNAME="$JUPYTER_USERNAME"
uid=$(id -u)
gid=$(id -g)

refuse() {
    echo "labdock: $*" >&2
    [ "$mode" = serve ] || exit 1
    # After an engine restart nothing else has checked: stay down without a loop of restarts, until stopped.
    exec sleep infinity
}

# mapped FILE: is 0 in here another id outside? So it is under an engine without root, whose uid 0 is an ordinary user.
mapped() {
    while read -r inside outside _; do
        [ "$inside" != 0 ] || [ "$outside" = 0 ] || return 0
    done <"/proc/self/$1"
    return 1
}
[ "$uid" != 0 ] || mapped uid_map || refuse "the lab would run as root (uid 0): put your own uid into .env as LAB_UID (id -u prints it)."
[ "$gid" != 0 ] || mapped gid_map || refuse "the lab would run in root's group (gid 0): put your own gid into .env as LAB_GID (id -g prints it)."

case $JUPYTER_USERNAME in
root | . | .. | '' | -* | *[!A-Za-z0-9._-]*)
    refuse "JUPYTER_USERNAME is '$JUPYTER_USERNAME', not a user name (letters, digits, '.', '_' and '-', not root): mend it in .env."
    ;;
*[!0-9]*) ;;
*) refuse "JUPYTER_USERNAME is '$JUPYTER_USERNAME', a number, which programs would take for a uid: mend it in .env." ;;
esac

case $LAB_UMASK in
0[0-7][0-7]) umask "$LAB_UMASK" ;;
*) refuse "LAB_UMASK is '$LAB_UMASK', not 0 and two digits from 0 to 7, such as 022: mend it in .env." ;;
esac

# name FILE ID LINE: the image's own entries, but LINE for this name and ID. /etc/passwd and /etc/group point here.
name() {
    awk -F : -v name="$USER" -v id="$2" '$1 != name && $3 != id' "/etc/$1.image" >"/run/lab/$1"
    echo "$3" >>"/run/lab/$1"
}
name passwd "$uid" "$USER:x:$uid:$gid:$USER:$HOME:/bin/bash"
name group "$gid" "$USER:x:$gid:"

case $JUPYTER_UI in
lab) module=jupyterlab ;;
notebook) module=notebook ;;
*) refuse "JUPYTER_UI is '$JUPYTER_UI': put lab or notebook into .env." ;;
esac

# What this user cannot write is not a lab: nobody would save anything.
writable() {
    [ -w "$1" ] && return
    owner=$(stat -c '%u %g' "$1")
    them="the lab runs as uid $uid, gid $gid and cannot write $2/, which belongs to uid ${owner% *}, gid ${owner#* }"
    if [ "${owner% *}" = 0 ] && [ "$uid" != 0 ] && mapped uid_map; then
        refuse "$them, you yourself in an engine without root: put LAB_UID=0 and LAB_GID=0 into .env."
    fi
    case $owner in
    "$uid "*) refuse "$them: run 'chmod u+rwx $2' in the project's folder." ;;
    0\ * | *\ 0) refuse "$them: run 'sudo chown -R $uid:$gid data notebooks secrets' in the project's folder." ;;
    *) refuse "$them: put LAB_UID=${owner% *} and LAB_GID=${owner#* } into .env, or run 'sudo chown -R $uid:$gid $2'." ;;
    esac
}
writable "$HOME/data" data
writable "$HOME/notebooks" notebooks

# An engine that starts a lab without its token leaves an empty folder of that name.
[ "$mode" != prepare ] || [ ! -d "$token" ] || rmdir "$token" ||
    refuse "secrets/jupyter_token is a folder: delete it, and the next start makes a new token."
if [ "$mode" = prepare ] && [ ! -e "$token" ]; then
    writable /run/secrets secrets
    # One line and its end, so that a terminal that shows it glues nothing to it.
    od -An -N 32 -w32 -t x1 /dev/urandom | tr -d ' ' | (umask 077 && cat >"$token.new")
    mv "$token.new" "$token"
fi
[ -e "$token" ] || refuse "secrets/jupyter_token is missing: 'docker compose up' makes a new one."
[ -r "$token" ] || refuse "secrets/jupyter_token cannot be read by uid $uid: delete it, and the next start makes a new one."
# The same reading as jupyter_server_config.py: a byte order mark and surrounding white space do not count.
stripped=$(LC_ALL=C sed '1s/^\xef\xbb\xbf//' "$token" | tr -d '[:space:]')
case $stripped in
*[!!-~]*) refuse "secrets/jupyter_token holds more than plain characters: delete it, and the next start makes a new one." ;;
esac
length=$(printf %s "$stripped" | wc -c)
[ "$length" -ge 32 ] ||
    refuse "secrets/jupyter_token holds $length characters, 32 are needed: delete it, and the next start makes a new one."

[ "$mode" = serve ] || exit 0

# What outlives a start, for each uid apart: histories, the front end's settings, an editor's server. It lies on a volume.
kept=/var/lib/lab/$uid
[ -d "$kept" ] || mkdir -m 700 "$kept"
owner=$(stat -c %u "$kept")
[ "$owner" = "$uid" ] || refuse "what the lab keeps for uid $uid belongs to uid $owner: 'make reset' starts anew."
mkdir -p "$kept/lab" "$kept/.vscode-server" "$HOME/.jupyter" "$HOME/.ipython/profile_default"
for path in .bash_history .ipython/profile_default/history.sqlite .jupyter/lab .vscode-server; do
    ln -sfn "$kept/${path##*/}" "$HOME/$path"
done
# Where nobody has been yet, JupyterLab opens the README; the file is named as the one in which it keeps what is open.
if [ -e "$HOME/notebooks/README.md" ] && mkdir "$kept/lab/workspaces" 2>/dev/null; then
    cat /opt/labdock/workspace.json >"$kept/lab/workspaces/default-37a8.jupyterlab-workspace"
fi

# Only paths of the image say how the server behaves; nothing in home or in a mount does (-I: no user packages either).
export JUPYTER_CONFIG_DIR=/opt/labdock JUPYTER_DATA_DIR=/opt/labdock JUPYTER_RUNTIME_DIR=/run/lab
export JUPYTERLAB_SETTINGS_DIR="$HOME/.jupyter/lab/user-settings" JUPYTERLAB_WORKSPACES_DIR="$HOME/.jupyter/lab/workspaces"
cd /
exec /opt/jupyter/bin/python -I -m "$module"
