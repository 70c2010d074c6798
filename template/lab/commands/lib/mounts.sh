# Checks the permissions of the mounted folders. The lab must be able to write these folders, and other users must not.
# shellcheck shell=sh

check_mounts() {
    [ "$(uname)" != Darwin ] || return 0 # Docker Desktop gives every file to the lab's user
    [ -z "$(check_ids)" ] || return 0
    uid=$(setting LAB_UID)
    gid=$(setting LAB_GID)
    if [ "$uid" = 0 ] && [ "$(engine_kind)" = rootless ]; then
        uid=$(id -u) # uid 0 in the container is this uid on the machine
        gid=$(id -g)
    fi
    notes=$(note_read_only)
    # shellcheck disable=SC2154 # all.sh sets it
    for folder in $written; do
        [ ! -d "$folder" ] || check_mount "$folder"
    done
}

# check_mount FOLDER: ls -L prints mode, links, uid and gid. If the folder is a link, it prints them for the linked folder.
# `stat` has other options on macOS. The printed name ends with /, so that `chown -R` follows a link.
check_mount() {
    # shellcheck disable=SC2012 # the names are known
    ls -ldnL "$1" | while read -r mode _ owner group _; do
        if [ "$owner" = "$uid" ]; then
            access=$(echo "$mode" | cut -c 2-4)
        elif [ "$group" = "$gid" ]; then
            access=$(echo "$mode" | cut -c 5-7)
        else
            access=$(echo "$mode" | cut -c 8-10)
        fi
        case $mode,$access in
        ????????w*) echo "every user of this machine can write $1/. Run 'chmod o-w $1/'." ;;
        *,rw[xst]) ;;
        *)
            # The mount is read-only, so the lab only needs to read the folder.
            case $access,$notes in r?[xst],*"note  $1 is mounted read-only"*) continue ;; esac
            if [ "$owner" = "$uid" ]; then
                echo "the lab cannot write $1/. Run 'chmod u+rwx $1/'."
            else
                echo "$1/ belongs to $owner:$group, but the lab runs as $uid:$gid. Run 'sudo chown -R $uid:$gid $1/'."
            fi
            ;;
        esac
    done
}
