# Finds files and folders that were replaced on this machine while the lab runs. A mount keeps the old file or folder.
# shellcheck shell=sh disable=SC2154 # find_lab sets lab, server and their states. all.sh sets server_files

# check_replaced: print a problem for each replaced file or folder, and for a changed token.
check_replaced() {
    replaced | while IFS= read -r path; do
        if matches "$path" "$server_files"; then
            echo "$path was replaced after the server started, so the server still uses the old one. Run 'make up', which restarts the server. Notebooks go on."
        else
            echo "$path was replaced after the lab started, so the lab still uses the old one. Save your work in the lab, then run 'make up', which restarts the lab."
        fi
    done
    edited_too | while IFS= read -r path; do
        echo "$path changed after the server started, so the server still uses the old content. Run 'make up', which restarts the server. Notebooks go on."
    done
    token_accepted ||
        echo "the lab does not accept the token in secrets/jupyter_token, because this file changed after the server started. Run 'make up', which restarts the server."
}

# replaced: print the paths of mounted files and folders that were replaced on this machine.
replaced() {
    {
        case $server_state in running*) replaced_in "$server" ;; esac
        case $lab_state in running*) replaced_in "$lab" ;; esac
    } | sort -u
}

# replaced_in ID: print the replaced paths of one container.
replaced_in() {
    id=$1
    mounts=$(docker inspect --format \
        '{{range .Mounts}}{{if eq .Type "bind"}}{{.Destination}}{{"\t"}}{{.Source}}{{"\n"}}{{end}}{{end}}' "$id")
    # shellcheck disable=SC2016 # the shell in the container expands it
    printf '%s\n' "$mounts" | cut -f 1 |
        docker exec --interactive "$id" sh -c 'while read -r path; do [ -z "$path" ] || ls -diL "$path"; done' 2>/dev/null |
        while read -r inode inside; do
            path=$(printf '%s\n' "$mounts" | awk -F '\t' -v inside="$inside" '$1 == inside { print $2 }')
            path=${path#/host_mnt} # Docker Desktop's name for this machine's files
            now=$(ls -diL "$path" 2>/dev/null) || continue
            # shellcheck disable=SC2086 # the number and the path
            set -- $now
            [ "$1" = "$inode" ] || same "$id" "$inside" "$path" </dev/null || echo "${path#"$(pwd -P)"/}"
        done
}

# same ID INSIDE PATH: Docker Desktop gives files other inodes, so another inode proves nothing. Compare a file's content,
# and look for a new file in a folder. If a comparison is impossible, the result is true.
same() {
    if [ -f "$3" ]; then
        [ ! -r "$3" ] || [ "$(cksum <"$3")" = "$(docker exec "$1" sh -c 'cksum <"$1"' sh "$2")" ]
    elif mark=$(mktemp "$3/.labdock.XXXXXX" 2>/dev/null); then
        missing=$(docker exec "$1" sh -c '[ -e "$1" ] || echo missing' sh "$2/${mark##*/}") || missing=
        rm -f "$mark"
        [ -z "$missing" ]
    fi
}

# edited: print the files of the server that changed in place. The server reads them only at its start.
edited() {
    token_accepted || echo secrets/jupyter_token
    edited_too
}

# token_accepted: false if the server refuses the token in the file. The server reads the file only at its start.
token_accepted() {
    if [ ! -r secrets/jupyter_token ] || [ -n "$(token_problem secrets/jupyter_token)" ]; then return 0; fi
    # shellcheck disable=SC2016 # the shell in the lab expands it
    status=$(LC_ALL=C tr -cd '!-~' <secrets/jupyter_token | docker exec --interactive "$server" bash -c '
        read -r token || true
        . /opt/labdock/status.sh && status /api/status "Authorization: token $token"' 2>/dev/null) || return 0
    [ "$status" != 403 ]
}
