# Checks user name, umask, front end, audit, time zone, token and mounts, for entrypoint.sh and for the commands in lab/commands.
# Each NAME_problem prints one line that says what is wrong and how to fix it, or nothing.
# shellcheck shell=sh

# The echo of dash and macOS would read \c and \n in a value.
echo() {
    printf '%s\n' "$*"
}

# matches VALUE REGEX: true if the whole value matches. A value of several lines never matches.
matches() {
    { printf %s "$1" | tr '\n' '\001' && echo; } | LC_ALL=C grep -qE "^($2)\$"
}

# `case` checks what it can: `matches` starts programs, and each container would wait for them when it starts.
username_problem() {
    case $1 in
    root | . | .. | '') ;;
    *[!0-9]*) ! matches "$1" '[A-Za-z0-9._][A-Za-z0-9._-]{0,31}' || return 0 ;;
    *)
        echo "JUPYTER_USERNAME is '$1', which is a number, not a user name. Programs would read it as a uid. In .env, set it to a name with at least one letter."
        return
        ;;
    esac
    echo "JUPYTER_USERNAME is '$1', not a user name. The name 'root' is not allowed. In .env, set JUPYTER_USERNAME to at most 32 characters: letters, digits, '.', '_' and '-'."
}

umask_problem() {
    case $1 in
    0[0-7][0-7]) ;;
    *) echo "LAB_UMASK is '$1', not a umask. Set it to 0 followed by two digits from 0 to 7, such as 022, in .env." ;;
    esac
}

front_end_problem() {
    case $1 in
    lab | notebook) ;;
    *) echo "JUPYTER_UI is '$1', which is not a front end. Set it to lab or notebook in .env." ;;
    esac
}

# switch_problem NAME VALUE: for a setting that is on or off.
switch_problem() {
    case $2 in
    on | off) ;;
    *) echo "$1 is '$2', not on or off. Set it to on or off in .env." ;;
    esac
}

# time_zone_problem NAME [FOLDER]: FOLDER contains a file for each time zone.
time_zone_problem() {
    if ! matches "$1" '[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*' || { [ -n "${2:-}" ] && [ ! -f "$2/$1" ]; }; then
        echo "LAB_TZ is '$1', which is not a time zone. Set it to a name such as Europe/Stockholm in .env."
    fi
}

# mounts_below FOLDER: print "OPTIONS PATH" for each mount of this container at FOLDER or below it, in the order of the paths.
mounts_below() {
    LC_ALL=C awk -v folder="$1" '{
        gsub(/\\040/, " ", $2)
        if ($2 == folder || index($2, folder "/") == 1) options[$2] = $4 # the last mount at a path counts
    }
    END { for (path in options) print options[path], path }' /proc/self/mounts | LC_ALL=C sort -k 2
}

# read_only FOLDER: true if FOLDER is a mount of its own that is read-only.
read_only() {
    case $(mounts_below "$1" | head -n 1) in ro" $1" | ro,*" $1") ;; *) return 1 ;; esac
}

# read_only_notes: print one line for each read-only mount in data/ and notebooks/.
read_only_notes() {
    for folder in data notebooks; do
        mounts_below "$HOME/$folder" | while read -r options path; do
            case $options in
            ro | ro,*) echo "${path#"$HOME/"} is mounted read-only. The lab can read the files in it, but cannot change them." ;;
            esac
        done
        if read_only "$HOME/$folder" && [ -d "/workspace/$folder" ] && ! read_only "/workspace/$folder"; then
            echo "$folder is mounted read-only, but code in the lab can change its files in /workspace/$folder. Make this mount read-only too in compose.override.yaml."
        fi
    done
}

# token_problem FILE: FILE may contain a byte order mark and white space, which do not count. jupyter_server_config.py repeats
# this check.
token_problem() {
    if [ -d "$1" ]; then
        echo "secrets/jupyter_token is a folder. Run 'rm -r secrets/jupyter_token'. The next start makes a new token."
        return
    elif [ ! -e "$1" ]; then
        echo "secrets/jupyter_token is missing. Run 'docker compose up' to make a new token."
        return
    elif [ ! -r "$1" ]; then
        echo "secrets/jupyter_token cannot be read by uid $(id -u). Run 'rm -f secrets/jupyter_token'. The next start makes a new token."
        return
    fi
    mark=$(printf '\357\273\277')
    length=$(LC_ALL=C sed "1s/^$mark//" "$1" | LC_ALL=C tr -cd '!-~' | wc -c | tr -d ' ')
    others=$(LC_ALL=C sed "1s/^$mark//" "$1" | LC_ALL=C tr -d '[:space:]!-~' | wc -c | tr -d ' ')
    if [ "$others" -gt 0 ]; then
        echo "secrets/jupyter_token contains characters that are not ASCII. Run 'rm secrets/jupyter_token'. The next start makes a new token."
    elif [ "$length" -lt 32 ]; then
        echo "secrets/jupyter_token contains $length characters, but at least 32 are needed. Run 'rm secrets/jupyter_token'. The next start makes a new token."
    fi
}
