#!/bin/sh
# Write .env from sample.env with this user's ids and this folder's own name and port. Never overwrites.
set -eu
. lab/commands/lib/all.sh

if [ -e .env ] || [ -L .env ]; then
    echo ".env is there already; it was left as it is."
    exit 0
fi

uid=$(id -u)
gid=$(id -g)
if [ "$uid" = 0 ]; then
    # Root has no lab of its own: the person behind sudo, else the folder's owner, else the usual first user.
    # shellcheck disable=SC2012 # a portable stat
    owner=$(ls -ldn . | awk '{print $3 ":" $4}')
    uid=${SUDO_UID:-${owner%:*}}
    gid=${SUDO_GID:-${owner#*:}}
    if [ "$uid" = 0 ] || [ "$gid" = 0 ]; then
        uid=1000 gid=1000
    fi
fi
# Without root, Docker's uid 0 is the user who runs it; what any other uid writes that user could not delete.
lab_uid=$uid lab_gid=$gid files=
case $(engine_kind) in
rootless) lab_uid=0 lab_gid=0 ;;
podman) files=compose.yaml:lab/runtime/podman.yaml$([ ! -e compose.override.yaml ] || echo :compose.override.yaml) ;;
esac
history=
[ ! -d .git ] || [ -n "$(git_password .git)" ] || history=./.git
number=$(checkout_number)
name=$(sed -n 's/^LAB_NAME=//p' sample.env)-$(printf %06x $((number % 16777216)))
port=$((8888 + number % 1000))

# Written aside first, so that an interrupted run leaves no half .env.
trap 'rm -f .env.new' EXIT
trap 'exit 130' HUP INT TERM
sed "s/^LAB_NAME=.*/LAB_NAME=$name/; s/^LAB_UID=.*/LAB_UID=$lab_uid/; s/^LAB_GID=.*/LAB_GID=$lab_gid/
    s/^JUPYTER_PORT=.*/JUPYTER_PORT=$port/; s|^LAB_GIT=.*|LAB_GIT=$history|" sample.env >.env.new
[ -z "$files" ] || printf '\n# The engine is Podman.\nCOMPOSE_FILE=%s\n' "$files" >>.env.new
if [ "$(id -u)" = 0 ]; then
    for path in .env.new data notebooks secrets; do
        [ ! -e "$path" ] || chown -hR "$uid:$gid" "$path"
    done
    echo "You are root: the lab will run as $uid:$gid, to whom data/, notebooks/ and secrets/ were handed."
fi
mv .env.new .env
echo "Wrote .env: $name, uid $lab_uid, gid $lab_gid, port $port."
[ "$lab_uid" != 0 ] || echo "This Docker engine runs without root: its uid 0 is you."
