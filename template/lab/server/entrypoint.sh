#!/bin/sh
# Checks settings, ids, mounts and token, then starts a program. The argument says which:
#   server   the Jupyter server, without notebooks (the service `server`)
#   lab      the agent, which runs notebooks and terminals for the server (the service `lab`)
#   serve    the server with notebooks and terminals in one container, for platforms that start one container
#   prepare  none. It makes the token (the service `prepare`)
set -eu
# shellcheck source=SCRIPTDIR/setting_rules.sh
. /opt/labdock/setting_rules.sh

mode=${1:-serve}
token=/run/secrets/jupyter_token
export HOME="/home/$JUPYTER_USERNAME" USER="$JUPYTER_USERNAME" LOGNAME="$JUPYTER_USERNAME"
uid=$(id -u)
gid=$(id -g)

# refuse SENTENCE: print SENTENCE and start nothing.
refuse() {
    trap - EXIT # one sentence is enough
    echo "labdock: $*" >&2
    [ "$mode" != prepare ] || exit 1
    # After an engine restart, only this script checks the settings. If this script ended, the engine would restart the
    # container forever. So it sleeps until someone stops it.
    exec sleep infinity
}

# require SENTENCE: refuse to start, unless SENTENCE is empty.
require() {
    [ -z "$1" ] || refuse "$1"
}

# Some answers to Copier's questions add services of their own.
program=
for file in "/opt/labdock/"*"/services/$mode.sh"; do [ ! -e "$file" ] || program=$file; done
case $mode,$program in
server, | lab, | serve, | prepare, | *,?*) ;;
*) refuse "the command of a service is '$mode'. Set it to server, lab, serve or prepare, or remove your line from compose.override.yaml." ;;
esac

# --- ids --------------------------------------------------------------------------------------------
# mapped FILE: true if id 0 in the container is another id on the host. This is so in an engine that runs without root.
mapped() {
    while read -r inside outside _; do
        [ "$inside" != 0 ] || [ "$outside" = 0 ] || return 0
    done <"/proc/self/$1"
    return 1
}
[ "$uid" != 0 ] || mapped uid_map ||
    refuse "the lab would run as root (uid 0). Set LAB_UID in .env to your own uid, which 'id -u' prints."
[ "$gid" != 0 ] || mapped gid_map ||
    refuse "the lab would run in root's group (gid 0). Set LAB_GID in .env to your own gid, which 'id -g' prints."

# --- settings ---------------------------------------------------------------------------------------
require "$(username_problem "$JUPYTER_USERNAME")"
require "$(umask_problem "$LAB_UMASK")"
require "$(front_end_problem "$JUPYTER_UI")"
require "$(switch_problem LAB_AUDIT "${LAB_AUDIT:-off}")"
[ "$mode" != serve ] || [ "${LAB_AUDIT:-off}" = off ] ||
    refuse "LAB_AUDIT is on, but notebooks in this container could change the record. Set LAB_AUDIT=off in .env."
require "$(time_zone_problem "$TZ" /usr/share/zoneinfo)"
# Settings that only some projects have: each file prints a problem, or nothing.
setting() {
    printenv "$1" || true
}
for rule in /opt/labdock/settings/*.sh; do
    # shellcheck disable=SC1090
    [ ! -e "$rule" ] || require "$(. "$rule")"
done
umask "$LAB_UMASK"

# add_name FILE ID LINE: write the image's own passwd or group to the tmpfs, with LINE for this user's name and ID.
# /etc/passwd and /etc/group are links to these files.
add_name() {
    awk -F : -v name="$USER" -v id="$2" '$1 != name && $3 != id' "/etc/$1.image" >"/run/lab/$1"
    echo "$3" >>"/run/lab/$1"
}
add_name passwd "$uid" "$USER:x:$uid:$gid:$USER:$HOME:/bin/bash"
add_name group "$gid" "$USER:x:$gid:"

# shellcheck source=/dev/null
[ -z "$program" ] || . "$program" # it ends with `exec`

# --- mounts -----------------------------------------------------------------------------------------
# writable FOLDER NAME: refuse if this user cannot write FOLDER, which is NAME/ in the project. A read-only mount is
# your decision, so reading is enough there.
writable() {
    [ -r "$1" ] && [ -w "$1" ] && [ -x "$1" ] && return
    if read_only "$1" && [ -r "$1" ] && [ -x "$1" ]; then return; fi
    owner=$(stat -c '%u %g' "$1")
    owner_uid=${owner% *}
    owner_gid=${owner#* }
    problem="the lab runs as uid $uid, gid $gid and cannot write $2/,"
    if [ "$owner_uid" = 0 ] && [ "$uid" != 0 ] && mapped uid_map; then
        refuse "$problem which belongs to uid 0, gid $owner_gid. The engine runs without root, so uid 0 is you. Set LAB_UID=0 and LAB_GID=0 in .env."
    elif [ "$owner_uid" = "$uid" ]; then
        refuse "$problem although it belongs to this uid. Run 'chmod u+rwx $2' in the project's folder."
    elif [ "$owner_uid" = 0 ] || [ "$owner_gid" = 0 ]; then
        refuse "$problem which belongs to root (uid $owner_uid, gid $owner_gid). Run 'sudo chown -R $uid:$gid data notebooks secrets' in the project's folder."
    else
        refuse "$problem which belongs to uid $owner_uid, gid $owner_gid. Set LAB_UID=$owner_uid and LAB_GID=$owner_gid in .env, or run 'sudo chown -R $uid:$gid $2/' in the project's folder."
    fi
}
writable "$HOME/data" data
writable "$HOME/notebooks" notebooks

# --- token ------------------------------------------------------------------------------------------
if [ "$mode" = prepare ]; then
    # If the engine starts a lab whose token is missing, the engine creates an empty folder with the token's name.
    [ ! -d "$token" ] || rmdir "$token" 2>/dev/null || true
    if [ ! -e "$token" ]; then
        ! read_only /run/secrets ||
            refuse "secrets/ is mounted read-only and contains no token. Write at least 32 random characters into secrets/jupyter_token."
        writable /run/secrets secrets
        # The token ends with a newline. So if you print the file, the shell's prompt is on a line of its own.
        od -An -N 32 -w32 -t x1 /dev/urandom | tr -d ' ' | (umask 077 && cat >"$token.new")
        mv "$token.new" "$token"
    fi
fi
[ "$mode" = lab ] || require "$(token_problem "$token")"
case $mode in lab | serve) read_only_notes | sed 's/^/note: /' >&2 ;; esac

# --- home, certificates and variables -----------------------------------------------------------------
# If a command below fails, wait as `refuse` does. Otherwise the engine would restart the container forever.
failed() {
    refuse "a step of the start failed with the error above. If a file on the lab's volumes causes the error, run 'make reset', which deletes histories, settings and caches."
}
trap failed EXIT
# Each part is a file in start/. The parts after volumes use its function.
state=/run/lab/state # if this container has no volume for it
case $mode in
prepare) parts="volumes moved_settings" ;;
server) parts="volumes mounts state no_site" ;;
lab) parts="volumes mounts kept caches certificates variables" ;;
serve) parts="volumes mounts state kept caches certificates variables" ;;
esac
for part in $parts; do
    # shellcheck source=/dev/null
    . "/opt/labdock/start/$part.sh"
done
# Some answers to Copier's questions add a folder with more parts.
for part in "/opt/labdock/"*"/$mode.sh"; do
    # shellcheck source=/dev/null
    [ ! -e "$part" ] || . "$part"
done
trap - EXIT
[ "$mode" != prepare ] || exit 0

# --- program ----------------------------------------------------------------------------------------
# The programs read their settings and their code only from the image. With -I, Python ignores the user's packages. Only the
# front end's own settings come from a volume, of the server.
export JUPYTER_CONFIG_DIR=/opt/labdock JUPYTER_DATA_DIR=/opt/labdock JUPYTER_RUNTIME_DIR=/run/lab
cd /
[ "$mode" != lab ] || exec /opt/jupyter/bin/python -IS /opt/labdock/agent.py
export LAB_MODE="$mode" LAB_STATE="$state"
# Otherwise, Jupyter would start without the rest of its settings after an error in them.
export TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR=1
export JUPYTERLAB_SETTINGS_DIR="$state/lab/user-settings" JUPYTERLAB_WORKSPACES_DIR="$state/lab/workspaces"
case $JUPYTER_UI in
lab) module=jupyterlab ;;
notebook) module=notebook ;;
esac
exec /opt/jupyter/bin/python -I -m "$module"
