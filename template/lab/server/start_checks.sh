# Checks user name, umask, front end and token, for entrypoint.sh and for the commands in lab/commands.
# Each NAME_problem prints one line that says what is wrong and how to fix it, or nothing.
# shellcheck shell=sh

# matches VALUE REGEX: true if the whole value matches. A value of several lines never does.
matches() {
    { printf %s "$1" | tr '\n' '\001' && echo; } | LC_ALL=C grep -qE "^($2)\$"
}

username_problem() {
    if matches "$1" '[0-9]+'; then
        echo "JUPYTER_USERNAME is '$1', which is a number, not a user name. Programs would read it as a uid. Set it to a name with at least one letter in .env."
    elif matches "$1" 'root|[.]|[.][.]' || ! matches "$1" '[A-Za-z0-9._][A-Za-z0-9._-]{0,31}'; then
        echo "JUPYTER_USERNAME is '$1', not a user name. Set it in .env to a name of at most 32 letters, digits, '.', '_' or '-'. The name root is not allowed."
    fi
}

umask_problem() {
    matches "$1" '0[0-7][0-7]' ||
        echo "LAB_UMASK is '$1', not a umask. Set it to 0 followed by two digits from 0 to 7, such as 022, in .env."
}

front_end_problem() {
    matches "$1" 'lab|notebook' || echo "JUPYTER_UI is '$1', which is not a front end. Set it to lab or notebook in .env."
}

# token_problem FILE: a byte order mark and white space do not count. jupyter_server_config.py repeats this check.
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
