#!/bin/sh
# Checks settings, ids, mounts and token, then starts the server. With `prepare`, it makes the token, checks and ends.
set -eu
# shellcheck source=SCRIPTDIR/start_checks.sh
. /opt/labdock/start_checks.sh
# shellcheck source=SCRIPTDIR/cpus.sh
. /opt/labdock/cpus.sh

mode=${1:-serve}
token=/run/secrets/jupyter_token
export HOME="/home/$JUPYTER_USERNAME" USER="$JUPYTER_USERNAME" LOGNAME="$JUPYTER_USERNAME"
uid=$(id -u)
gid=$(id -g)

# refuse SENTENCE: print it and do not start the server.
refuse() {
    echo "labdock: $*" >&2
    [ "$mode" = serve ] || exit 1
    # After an engine restart only this script checks. An exit would restart the container forever, so wait for a stop.
    exec sleep infinity
}

# require SENTENCE: refuse, unless it is empty.
require() {
    [ -z "$1" ] || refuse "$1"
}

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
require "$(time_zone_problem "$TZ" /usr/share/zoneinfo)"
umask "$LAB_UMASK"

# add_name FILE ID LINE: write the image's own passwd or group to the tmpfs, with LINE for this user's name and ID.
# /etc/passwd and /etc/group are links to these files.
add_name() {
    awk -F : -v name="$USER" -v id="$2" '$1 != name && $3 != id' "/etc/$1.image" >"/run/lab/$1"
    echo "$3" >>"/run/lab/$1"
}
add_name passwd "$uid" "$USER:x:$uid:$gid:$USER:$HOME:/bin/bash"
add_name group "$gid" "$USER:x:$gid:"

# --- mounts -----------------------------------------------------------------------------------------
# writable FOLDER NAME: refuse if this user cannot write FOLDER, which is NAME/ in the project. A read-only mount is
# your decision, so reading is enough there.
writable() {
    [ -w "$1" ] && return
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
require "$(token_problem "$token")"

[ "$mode" = serve ] || exit 0
read_only_notes | sed 's/^/note: /' >&2

# --- your own mounts in home --------------------------------------------------------------------------
# The engine makes the folders above a mount, such as .cache for a mount at .cache/huggingface. These folders belong to
# root. So give each of them another name, make it again, and link the mount to its old path.
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

# --- files that outlive a start -----------------------------------------------------------------------
# own FOLDER: make this uid's folder in a volume. Another uid of the same volume could have put something else there.
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
# Of git's settings, only name and address are kept: another setting, such as an alias, could run a program after a start.
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
# On a user's first start, JupyterLab opens the README: this is the file in which it stores the open tabs.
if [ -e "$HOME/notebooks/README.md" ] && mkdir "$kept/lab/workspaces" 2>/dev/null; then
    cat /opt/labdock/workspace.json >"$kept/lab/workspaces/default-37a8.jupyterlab-workspace"
fi

# --- caches and temporary files, on a volume because they may be larger than the memory -----------------
disk=/var/cache/lab/$uid
own "$disk"
# Delete the temporary files and the packages of `pip install` from the last start. This may take longer than the start.
stamp=$(date +%s%N)
for name in tmp try try.before try.before.new; do
    mv -T "$disk/$name" "$disk/old.$name.$stamp" 2>/dev/null || true
done
({ find "$disk" -maxdepth 1 -name 'old.*' -type d -exec chmod -R u+rwx {} + && rm -rf "$disk"/old.*; } >/dev/null 2>&1 &)
[ -d "$disk/cache/nltk" ] || rm -f "$disk/cache" "$disk/cache/nltk" 2>/dev/null || true # links that lead nowhere
for name in cache tmp try; do
    error=$(umask 077 && mkdir -p "$disk/$name" "$disk/cache/nltk" 2>&1) || # NLTK does not make its own folder
        refuse "the lab cannot write its volume ($error). Free space on the disk of the container engine, then run 'make up'."
    ln -s "$disk/$name" "/run/lab/$name"
done
# A running kernel finds new packages only in a folder that existed when the kernel started (bin/pip).
site=$(echo /opt/venv/lib/python*/site-packages)
mkdir -p "$disk/try/${site#/opt/venv/}"
ln -s "${site#/opt/venv/}" "$disk/try/site"
# Links to your own mounts in ~/.cache (see above) move to the cache on the disk.
find "$disk/cache" -maxdepth 3 -lname '/home/*/.mounted-*' -delete # links of the last start
if [ ! -L "$HOME/.cache" ] && ! mountpoint -q "$HOME/.cache"; then
    find "$HOME/.cache" -type l 2>/dev/null | while read -r link; do
        path=$disk/cache${link#"$HOME/.cache"}
        mkdir -p "${path%/*}"
        rm -rf "$path"
        mv "$link" "$path"
    done
    rm -rf "$HOME/.cache" # only empty folders are left in it
    ln -s "$disk/cache" "$HOME/.cache"
fi

# --- certificates -------------------------------------------------------------------------------------
# The certificates of the image and those of your site (LAB_CA_BUNDLE). In /etc/ssl/certs, two links lead here.
[ -f /run/ca.pem ] && [ -r /run/ca.pem ] ||
    refuse "LAB_CA_BUNDLE names a file that uid $uid cannot read. Run 'chmod a+r FILE' with this file, or set LAB_CA_BUNDLE to another file in .env."
{ cat /etc/ssl/certs/ca-certificates.crt.image && echo && cat /run/ca.pem; } >/run/lab/ca.pem
if [ -e /etc/ssl/certs/java/cacerts.image ] && [ -s /run/ca.pem ]; then
    openssl pkcs12 -export -nokeys -jdktrust anyExtendedKeyUsage -certpbe NONE -nomac -passout pass: \
        -in /run/lab/ca.pem -out /run/lab/cacerts
elif [ -e /etc/ssl/certs/java/cacerts.image ]; then
    ln -s /etc/ssl/certs/java/cacerts.image /run/lab/cacerts
fi

# --- variables of kernels and terminals ---------------------------------------------------------------
# Libraries would count the machine's CPUs. OpenBLAS and MKL follow OMP_NUM_THREADS. With variables of their own, joblib would
# start as many threads in each of its processes.
cpus=$(cpu_limit /sys/fs/cgroup)
for name in OMP_NUM_THREADS NUMEXPR_MAX_THREADS LOKY_MAX_CPU_COUNT PYTHON_CPU_COUNT POLARS_MAX_THREADS RAYON_NUM_THREADS \
    TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS; do
    echo "$name=$cpus"
done >/run/lab/environment
# shellcheck source=SCRIPTDIR/environment.sh
. /opt/labdock/environment.sh
# Docker's client can set a proxy too.
if [ -n "${HTTP_PROXY:-}${HTTPS_PROXY:-}${http_proxy:-}${https_proxy:-}" ]; then
    case ,${no_proxy:-}, in
    *,localhost,*) ;;
    *) export no_proxy="localhost,127.0.0.1,::1${no_proxy:+,$no_proxy}" && export NO_PROXY="$no_proxy" ;;
    esac
fi

# --- server -----------------------------------------------------------------------------------------
# The server reads settings and code from the image only, never from home or a mount (-I: nor from the user's packages).
export JUPYTER_CONFIG_DIR=/opt/labdock JUPYTER_DATA_DIR=/opt/labdock JUPYTER_RUNTIME_DIR=/run/lab
export JUPYTERLAB_SETTINGS_DIR="$HOME/.jupyter/lab/user-settings" JUPYTERLAB_WORKSPACES_DIR="$HOME/.jupyter/lab/workspaces"
case $JUPYTER_UI in
lab) module=jupyterlab ;;
notebook) module=notebook ;;
esac
cd /
exec /opt/jupyter/bin/python -I -m "$module"
