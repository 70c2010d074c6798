#!/bin/sh
# One line for each thing that can be wrong: ok, or the command that mends it. Fails if anything is.
set -eu
. lab/tools/lib.sh

check_mounts() {
    uid=$(setting LAB_UID 1000)
    gid=$(setting LAB_GID 1000)
    for folder in data notebooks secrets; do
        [ -d "$folder" ] || continue
        owner=$(stat -c %u "$folder" 2>/dev/null || stat -f %u "$folder")
        [ "$owner" = "$uid" ] || [ "$(uname)" = Darwin ] ||
            echo "$folder/ belongs to uid $owner, the lab runs as $uid: run 'sudo chown -R $uid:$gid $folder'."
    done
}

check_env_file() {
    [ -f .env ] || return 0
    name=$(setting LAB_NAME '')
    suffix=$(printf %06x $(($(checkout_number) % 16777216)))
    case $name in
    *-"$suffix" | '') ;;
    *-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f])
        echo "LAB_NAME is '$name', made for another folder: this .env is a copy; delete it and run 'make env'."
        ;;
    esac
    sed -n 's/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' .env | while read -r name; do
        grep -q "^$name=" sample.env || echo "$name in .env is no setting of this lab: see sample.env."
    done
}

check_token() {
    [ -e secrets/jupyter_token ] || return 0
    [ -r secrets/jupyter_token ] || return 0 # another user's: the lab itself will say
    length=$(LC_ALL=C sed '1s/^\xef\xbb\xbf//' secrets/jupyter_token | tr -d '[:space:]' | wc -c | tr -d ' ')
    [ "$length" -ge 32 ] ||
        echo "secrets/jupyter_token holds $length characters, 32 are needed: delete it, and the next start makes a new one."
}

status=0
while read -r check what; do
    problem=$($check)
    if [ -z "$problem" ]; then
        echo "ok    $what"
    else
        echo "$problem" | sed 's/^/MEND  /'
        status=1
    fi
done <<'CHECKS'
check_engine engine and Compose are recent enough
check_ids LAB_UID and LAB_GID are usable
check_username JUPYTER_USERNAME is usable
check_port JUPYTER_PORT is usable
check_ui JUPYTER_UI is usable
check_limits memory, processor and process limits are usable
check_ca the CA bundle can be read
check_folders data/, notebooks/ and secrets/ are there
check_mounts data/, notebooks/ and secrets/ belong to the lab's user
check_env_file .env belongs to this folder and holds known settings only
check_token the token is long enough
CHECKS
exit $status
