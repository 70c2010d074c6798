#!/bin/sh
# Writes .env from sample.env, with your ids, and a name and a port for this folder. Never overwrites an existing .env.
set -eu
. lab/commands/lib/all.sh

if [ -e .env ] || [ -L .env ]; then
    echo ".env already exists and was not changed."
    exit 0
fi

uid=$(id -u)
gid=$(id -g)
if [ "$uid" = 0 ]; then
    # The lab never runs as root. Take the ids of the user who called sudo, or else of the folder's owner. If one of
    # the two ids is 0, take 1000:1000, the ids of the first user on most Linux machines.
    # shellcheck disable=SC2012 # `stat` has other options on macOS
    owner=$(ls -ldn . | awk '{ print $3 ":" $4 }')
    uid=${SUDO_UID:-${owner%:*}}
    gid=${SUDO_GID:-${owner#*:}}
    if [ "$uid" = 0 ] || [ "$gid" = 0 ]; then
        uid=1000 gid=1000
    fi
fi

lab_uid=$uid
lab_gid=$gid
compose_files=
case $(engine_kind) in
rootless) # In the container, uid 0 is your own user. You could not delete files of any other uid of the container.
    lab_uid=0
    lab_gid=0
    ;;
podman)
    compose_files=compose.yaml:lab/runtime/podman.yaml
    [ ! -e compose.override.yaml ] || compose_files=$compose_files:compose.override.yaml
    ;;
esac

# The lab may read git's history, unless git's configuration holds credentials.
git=
if [ -d .git ] && [ -z "$(git_password .git)" ]; then
    git=./.git
elif [ ! -d .git ] && git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    echo "The lab cannot show git's history here, because git's files are outside of this folder. LAB_GIT stays empty."
fi
number=$(checkout_number)
name=$(own_name)
port=$((8888 + number % 1000))

# .env appears only when it is complete.
trap 'rm -f .env.new' EXIT
trap 'exit 130' HUP INT TERM
sed "s/^LAB_NAME=.*/LAB_NAME=$name/
    s/^LAB_UID=.*/LAB_UID=$lab_uid/
    s/^LAB_GID=.*/LAB_GID=$lab_gid/
    s/^JUPYTER_PORT=.*/JUPYTER_PORT=$port/
    s|^LAB_GIT=.*|LAB_GIT=$git|" sample.env >.env.new
[ -z "$compose_files" ] || printf '\n# The engine is Podman.\nCOMPOSE_FILE=%s\n' "$compose_files" >>.env.new
if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2154 # all.sh sets it
    for path in .env.new $written; do
        [ ! -e "$path" ] || chown -hR "$uid:$gid" "$path"
    done
    echo "You are root, so the lab will run as $uid:$gid. data/, notebooks/ and secrets/ now belong to $uid:$gid."
fi
mv .env.new .env
echo "Wrote .env: $name, uid $lab_uid, gid $lab_gid, port $port."
[ "$lab_uid" != 0 ] || echo "The Docker engine runs without root, so uid 0 in the lab is you."
