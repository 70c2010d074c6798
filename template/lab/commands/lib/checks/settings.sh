# Checks the settings in .env. Each check prints a problem and its fix, or nothing.
# shellcheck shell=sh disable=SC2154 # all.sh sets own_services

check_ids() {
    case $(engine_kind) in
    rootless) check_own_ids 0 0 ;;
    podman) check_own_ids "$(id -u)" "$(id -g)" ;;
    *)
        check_id LAB_UID 'id -u'
        check_id LAB_GID 'id -g'
        ;;
    esac
}

# check_id NAME COMMAND: check the id in the setting NAME. COMMAND prints the user's own id.
check_id() {
    whole_number "$(setting "$1")" 1 2147483647 ||
        echo "$1 is '$(setting "$1")', not a number from 1 to 2147483647. Set it in .env to the number that '$2' prints."
}

# check_own_ids UID GID: an engine without root maps these ids to you. You cannot delete files of any other id.
check_own_ids() {
    if [ "$(setting LAB_UID)" != "$1" ]; then
        name=LAB_UID
    elif [ "$(setting LAB_GID)" != "$2" ]; then
        name=LAB_GID
    else
        return 0
    fi
    echo "$name is '$(setting $name)', but this engine runs without root. With this id, you cannot delete the files that the lab writes. Set LAB_UID=$1 and LAB_GID=$2 in .env."
}

check_username() {
    username_problem "$(setting JUPYTER_USERNAME)"
}

check_umask() {
    umask_problem "$(setting LAB_UMASK)"
}

check_ui() {
    front_end_problem "$(setting JUPYTER_UI)"
}

check_audit() {
    switch_problem LAB_AUDIT "$(setting LAB_AUDIT)"
}

check_time_zone() {
    time_zone_problem "$(setting LAB_TZ)"
}

check_port() {
    port=$(setting JUPYTER_PORT)
    whole_number "$port" 0 65535 ||
        echo "JUPYTER_PORT is '$port', not a number from 0 to 65535. Set it to a port, or to 0 for any free port, in .env."
}

# For the engine, 0 means "no limit". A number that is too large for the engine means the same.
check_limits() {
    check_cpus
    pids=$(setting LAB_PIDS)
    whole_number "$pids" 32 4194304 ||
        echo "LAB_PIDS is '$pids', not a number from 32 to 4194304. Set it to a number such as 512 in .env."
    memory=$(setting LAB_MEMORY)
    { [ "$(bytes "$memory")" -ge "$(bytes 64m)" ] && [ "$(bytes "$memory")" -le "$(bytes 1048576g)" ]; } ||
        echo "LAB_MEMORY is '$memory', not a size from 64m to 1048576g. Set it to a size such as 4g in .env."
    scratch=$(setting LAB_SCRATCH)
    { matches "$scratch" '[1-9][0-9]*[kmgKMG]' && [ "$(bytes "$scratch")" -le "$(bytes 1048576g)" ]; } ||
        echo "LAB_SCRATCH is '$scratch', not a size from 1k to 1048576g. Set it to a size such as 1g or 500m in .env."
}

check_cpus() {
    percent=$(setting LAB_CPU_PERCENT)
    if [ -n "$percent" ]; then
        whole_number "$percent" 1 999999 ||
            echo "LAB_CPU_PERCENT is '$percent', not a number from 1 to 999999. Set it to the percentage of one CPU, such as 150, or leave it empty in .env."
        return
    fi
    cpus=$(setting LAB_CPUS)
    ! whole_number "$cpus" 1 9999 || return 0
    percent=$(matches "$cpus" '[0-9]{1,4}[.][0-9]{1,2}' && echo "$cpus" | awk '{ printf "%.0f", $1 * 100 }') || percent=
    if whole_number "$percent" 1 999999; then
        echo "LAB_CPUS is '$cpus', not a whole number. Run '$(into_env "LAB_CPU_PERCENT=$percent")' to set the same limit as a percentage of one CPU."
    else
        echo "LAB_CPUS is '$cpus', not a whole number from 1 to 9999. Set it to a number of CPUs such as 2 in .env."
    fi
}

# A proxy cannot reach the services next to the lab. Compose has no pattern for their names, so NO_PROXY lists them.
check_no_proxy() {
    [ -z "$(setting HTTP_PROXY)$(setting HTTPS_PROXY)" ] || check_no_proxy_in NO_PROXY
}

# check_no_proxy_in SETTING: print a problem if the setting lacks a service, other than those of the template.
check_no_proxy_in() {
    hosts=$(setting "$1")
    missing=$(docker compose config --services 2>/dev/null | grep -vxE "$own_services" | LC_ALL=C sort | while read -r service; do
        # Use no `case` here, because bash 3.2 of macOS cannot read it inside of $(...).
        printf ',%s,\n' "$hosts" | grep -qF ",$service," || printf ',%s' "$service"
    done)
    [ -z "$missing" ] || [ "$hosts" = '*' ] ||
        echo "$1 is '$hosts' and lacks ${missing#,}, so requests to these services go to the proxy. Run '$(into_env "$1=${hosts:+$hosts,}${missing#,}")'."
}

# check_same_name: look for another folder whose lab has this name. A start would replace that lab and end its kernels.
check_same_name() {
    name=$(setting LAB_NAME)
    docker ps --all --filter label=com.docker.compose.service=lab --filter "label=com.docker.compose.project=$name" \
        --format '{{.Label "com.docker.compose.project.working_dir"}}' 2>/dev/null | sort -u | while IFS= read -r folder; do
        there=$(cd "$folder" 2>/dev/null && pwd -P) || continue # the folder was moved or deleted
        [ "$there" = "$(pwd -P)" ] ||
            echo "LAB_NAME is '$name', and the lab of $folder has this name too. Run '$(into_env "LAB_NAME=$(own_name)")' to set this folder's own name."
    done
}

# own_name: print the name that `make env` gives to a lab in this folder.
own_name() {
    printf '%s-%06x\n' "$(default LAB_NAME)" $(($(checkout_number) % 16777216))
}

check_ca() {
    ca=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)
    { [ -f "$ca" ] && [ -r "$ca" ]; } ||
        echo "LAB_CA_BUNDLE is '$ca', which cannot be read. Set it to your site's PEM file in .env."
    # SELinux gives a mounted file a new label. After that, SELinux forbids other programs of the machine to read it.
    case $(cd "$(dirname "$ca")" 2>/dev/null && pwd -P)/ in "$(pwd -P)"/*) return ;; esac
    [ "$(getenforce 2>/dev/null)" != Enforcing ] ||
        echo "LAB_CA_BUNDLE is '$ca', and SELinux would change the label of this file. Copy the file into the project's folder and set LAB_CA_BUNDLE to the copy in .env."
}

# pip and uv print an address that they cannot read, with its password. So this refuses such an address before they run.
check_index() {
    for index in $PIP_INDEX_URL; do
        matches "$index" 'https?://([^@/]*@)?(\[[0-9A-Fa-f:]+\]|[^][@/:]+)(:[0-9]+)?(/[^@]*)?' ||
            echo "PIP_INDEX_URL is '$(masked_index "$index")', which is not the address of a package index. Set it to https://user:password@host/simple in .env. In the user name and the password, write %40 for @, %3A for : and %2F for /."
    done
}

# masked_index ADDRESS: print the address without its user name and password.
masked_index() {
    printf '%s\n' "$1" | sed 's#.*@#...@#; s#^\(https*://[^/:]*\):.*#\1:...#'
}

check_git() {
    git=$(setting LAB_GIT)
    [ -n "$git" ] || return 0
    if [ -f "$git" ]; then
        echo "LAB_GIT is '$git', which is a file, because this folder is a worktree or a submodule. Leave LAB_GIT empty in .env. Git works on your machine as before."
    elif [ ! -d "$git" ]; then
        echo "LAB_GIT is '$git', which is not a folder. Run 'git init', or leave LAB_GIT empty in .env."
    elif [ -n "$(git_password "$git")" ]; then
        echo "a file 'config' in $git contains credentials ('$(git_password "$git")'), which notebooks could read. Remove the credentials, for example with 'git remote set-url', or leave LAB_GIT empty in .env."
    elif [ -f "$git/commondir" ]; then
        echo "LAB_GIT is '$git', which belongs to a worktree and contains no history. Leave LAB_GIT empty in .env."
    fi
}

# git_password FOLDER: print the first line with a password in git's configuration, without the value. The configuration of
# submodules and worktrees counts too. A user name alone in a web address counts too, because it may be a token.
git_password() {
    find "$1/" -name objects -prune -o \( -name config -o -name config.worktree \) -type f -exec \
        grep -ihE '://[^/@[:space:]]*:[^/@[:space:]]*@|https?://[^/@[:space:]]*@|^[[:space:]]*extraheader' {} + 2>/dev/null |
        sed 's/^[[:space:]]*//; s/[[:space:]]*=.*/ = .../; q'
}

# into_env LINE: print the command that appends LINE to .env. If a setting has several lines, the last line counts.
into_env() {
    if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then
        echo "(echo; echo $1) >>.env" # the last line of .env has no newline
    else
        echo "echo $1 >>.env"
    fi
}
