# Checks of settings and files: each prints the sentence that fixes what it found, or nothing.
# shellcheck shell=sh

# require CHECK...: refuse with the first sentence that one of them prints.
require() {
    for check in "$@"; do
        problem=$($check)
        [ -z "$problem" ] || refuse "$(printf '%s\n' "$problem" | head -n 1)"
    done
}

# Where `copier update` and you changed the same lines, you decide. (Only the project's own files: data may be large.)
check_merged() {
    find . .devcontainer .github lab tests -type d \( -path './*' -o -path lab/bundle \) -prune -o -type f \
        \( -name '*.rej' -print -o -exec grep -ls '^<<<<<<< ' {} + \) 2>/dev/null | while read -r file; do
        file=${file#./}
        case $file in
        *.rej) echo "$file is what an update could not put into ${file%.rej}: do it by hand, then run 'rm $file'." ;;
        *) echo "$file holds a conflict ('<<<<<<<' to '>>>>>>>'): keep what is right, then run 'git add $file'." ;;
        esac
    done
    git diff --name-only --relative --diff-filter=U 2>/dev/null | while read -r file; do
        grep -qs '^<<<<<<< ' "$file" || echo "$file is unmerged in git: look at it, then run 'git add $file'."
    done
}

check_ids() {
    own=
    case $(engine_kind) in
    rootless) own="LAB_UID=0 and LAB_GID=0" ;;
    podman) own="LAB_UID=$(id -u) and LAB_GID=$(id -g)" ;;
    esac
    for name in LAB_UID LAB_GID; do
        value=$(setting $name 1000)
        if [ $name = LAB_UID ]; then command='id -u'; else command='id -g'; fi
        if [ -n "$own" ]; then
            # Any other is one of the engine's ids for containers.
            case "$own " in
            *"$name=$value "*) ;;
            *) echo "$name is '$value', and what it writes you could not delete, for this engine runs without root: put $own into .env." ;;
            esac
            continue
        fi
        whole_number "$value" 1 2147483647 ||
            echo "$name is '$value', not a number from 1 to 2147483647: put the number that '$command' prints into .env."
    done
}

check_username() {
    value=$(setting JUPYTER_USERNAME jovyan)
    case $value in
    root | . | ..) ;;
    *) ! matches "$value" '[A-Za-z0-9._][A-Za-z0-9._-]{0,31}' || matches "$value" '[0-9]*' || return 0 ;;
    esac
    echo "JUPYTER_USERNAME is '$value', not a user name (letters, digits, '.', '_' and '-', not root): mend it in .env."
}

check_umask() {
    value=$(setting LAB_UMASK 022)
    matches "$value" '0[0-7][0-7]' || echo "LAB_UMASK is '$value', not 0 and two digits from 0 to 7, such as 022: mend it in .env."
}

check_port() {
    value=$(setting JUPYTER_PORT 8888)
    whole_number "$value" 0 65535 ||
        echo "JUPYTER_PORT is '$value', not a number from 0 to 65535 (0 takes any free port): mend it in .env."
}

check_ui() {
    value=$(setting JUPYTER_UI lab)
    matches "$value" 'lab|notebook' || echo "JUPYTER_UI is '$value': put lab or notebook into .env."
}

check_limits() {
    value=$(setting LAB_CPUS 2)
    whole_number "$value" 1 9999 || echo "LAB_CPUS is '$value', not a whole number of processors: mend it in .env."
    value=$(setting LAB_PIDS 512)
    whole_number "$value" 32 4194304 || echo "LAB_PIDS is '$value', not a number from 32 to 4194304: mend it in .env."
    value=$(setting LAB_MEMORY 4g)
    matches "$value" '[0-9]+([.][0-9]+)?[bkmgBKMG][bB]?' ||
        echo "LAB_MEMORY is '$value', not a size such as 4g or 800m: mend it in .env."
    value=$(setting LAB_SCRATCH 1g)
    matches "$value" '[1-9][0-9]*[kmgKMG]' || echo "LAB_SCRATCH is '$value', not a size such as 1g or 500m: mend it in .env."
}

check_ca() {
    value=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)
    { [ -f "$value" ] && [ -r "$value" ]; } ||
        echo "LAB_CA_BUNDLE is '$value', which is no file that can be read: name your site's PEM file in .env."
    # Mounted, it gets SELinux's label for containers, and whatever else of the system reads it may not any more.
    case $(cd "$(dirname "$value")" 2>/dev/null && pwd -P)/ in "$(pwd -P)"/*) return ;; esac
    [ "$(getenforce 2>/dev/null)" != Enforcing ] ||
        echo "LAB_CA_BUNDLE is '$value', which SELinux would label anew: copy it into this folder and name the copy in .env."
}

# An address that is none is shown whole by the tools that get it, password and all.
check_index() {
    for index in $PIP_INDEX_URL; do
        matches "$index" 'https?://([^@/]*@)?(\[[0-9A-Fa-f:]+\]|[^][@/:]+)(:[0-9]+)?(/[^@]*)?' ||
            echo "PIP_INDEX_URL names '$(printf '%s\n' "$index" | sed 's#.*@#...@#; s#^\(https*://[^/:]*\):.*#\1:...#')', no address of an index: write https://user:password@host/simple into .env, with %40 for @, %3A for : and %2F for / in name and password."
    done
}

check_folders() {
    for folder in data notebooks secrets; do
        [ -d "$folder" ] || echo "$folder/ is missing, and the lab mounts it: run 'mkdir $folder'."
    done
}

# git_password FOLDER: the line of its config that keeps a password, its value left out: in an address (where one of the
# web has but a name, that may be a token) or in a header.
git_password() {
    grep -iE '://[^/@[:space:]]*:[^/@[:space:]]*@|https?://[^/@[:space:]]*@|^[[:space:]]*extraheader' "$1/config" 2>/dev/null |
        sed 's/^[[:space:]]*//; s/[[:space:]]*=.*/ = .../; q'
}

check_git() {
    value=$(setting LAB_GIT '')
    [ -n "$value" ] || return 0
    if [ ! -d "$value" ]; then
        echo "LAB_GIT is '$value', which is no folder: run 'git init', or leave it empty in .env."
    elif [ -n "$(git_password "$value")" ]; then
        echo "$value/config keeps a name or password ('$(git_password "$value")'), which notebooks could read: take it out, for example with 'git remote set-url', or leave LAB_GIT empty in .env."
    fi
}

# What the machinery needs of the user's environment; the resolver merges it, an update never does. A line of
# lab/locks/required-packages.txt: a name in the lock (or grep's pattern for one), and what to add for it where that is not the name.
check_packages() {
    missing=$(while read -r name requirement; do
        grep -qs "^$name==" requirements.lock || echo "${requirement:-$name}"
    done <lab/locks/required-packages.txt | uniq | tr '\n' ' ')
    missing=${missing% }
    [ -z "$missing" ] ||
        echo "requirements.lock lacks $missing, which this lab needs: run 'make add PKG=\"$missing\"'."
}

# What is left: an .env that cannot be read, a wrong address, a mistake in compose.override.yaml.
check_config() {
    error=$(docker compose config --quiet 2>&1) ||
        echo "Compose says '$(printf '%s\n' "$error" | tail -n 1)': mend .env or compose.override.yaml."
}
