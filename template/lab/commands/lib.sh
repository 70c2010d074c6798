# Shared by the scripts beside it: `. lab/commands/lib.sh` in the project's folder.
# shellcheck shell=sh

# refuse SENTENCE: what is wrong, the value seen and the mend; ends the script.
refuse() {
    printf 'labdock: %s\n' "$*" >&2
    exit 1
}

# Shell and .env as Compose itself reads them: quotes, comments and line ends are its business.
settings=$(echo 'services: {any: {image: any}}' |
    docker compose --project-directory . --file - config --environment 2>/dev/null) || settings=

# setting NAME DEFAULT: empty counts as unset, as it does in compose.yaml.
setting() {
    value=$(printf '%s\n' "$settings" | sed -n "s/^$1=//p" | tail -n 1)
    printf '%s\n' "${value:-$2}"
}

# image STAGE: the name of its image, as compose.yaml gives it. (Compose, asked for the images of one service, also names
# those of the services that it waits for, in any order.)
image() {
    printf '%s-%s\n' "$(setting LAB_NAME "$(sed -n 's/^LAB_NAME=//p' sample.env)")" "$1"
}

# Compose finds the build's secret in .env too; buildx alone and Podman do in the environment only.
PIP_INDEX_URL=$(setting PIP_INDEX_URL '')
[ -z "$PIP_INDEX_URL" ] || export PIP_INDEX_URL

# whole_number VALUE LOWEST HIGHEST: true where it is one, written without a sign or leading zeros.
whole_number() {
    case $1 in '' | *[!0-9]* | 0?* | ???????????*) return 1 ;; esac
    [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

# matches VALUE REGEX: true where the whole value does.
matches() {
    printf '%s\n' "$1" | LC_ALL=C grep -qE "^($2)\$"
}

# checkout_number: a number that this folder's path decides, so that two checkouts differ.
checkout_number() {
    pwd -P | tr -d '\n' | cksum | cut -d ' ' -f 1
}

# engine_kind: docker, rootless (Docker without root: its uid 0 is who runs it) or podman; docker where none answers.
engine_kind() {
    if [ -n "${engine:-}" ]; then
        echo "$engine" # asked already
        return
    fi
    case $(docker version --format '{{.Server.Components}}' 2>/dev/null) in
    *"Podman Engine"*) echo podman && return ;;
    esac
    case $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) in
    *name=rootless*) echo rootless ;;
    *) echo docker ;;
    esac
}

# build [SERVICE]: the images. Compose needs BuildKit for the CA, which Podman has not: there, its own builder does it.
build() {
    if [ "$(engine_kind)" != podman ]; then
        docker compose build "$@"
        return
    fi
    stage=${1:-lab}
    set -- --secret "id=ca,src=$(setting LAB_CA_BUNDLE lab/runtime/empty-ca.pem)"
    [ -z "$PIP_INDEX_URL" ] || set -- "$@" --secret id=index,env=PIP_INDEX_URL
    # The arguments as Compose has them, compose.override.yaml's too.
    while read -r argument; do
        [ -z "${argument#*=}" ] || set -- "$@" --build-arg "$argument"
    done <<ARGUMENTS
$(docker compose --profile '*' config | sed -n "/^  $stage:/,/^  [^ ]/p" | sed -n '/^      args:/,/^      [^ ]/s/^        \([A-Za-z0-9_]*\): "\{0,1\}\([^"]*\)"\{0,1\}$/\1=\2/p')
ARGUMENTS
    podman build "$@" --target "$stage" --tag "docker.io/library/$(image "$stage")" .
}

# build_quietly LOG WORD...: the same, without a word where it succeeds. The Dockerfile's steps say why they failed.
build_quietly() {
    log=$1
    shift
    if ! build "$@" >"$log" 2>&1; then
        cat "$log" >&2
        reason=$(sed -n 's/.*labdock: //p' "$log" | tail -n 1)
        refuse "the image was not built: ${reason:-the lines above say why.}"
    fi
}

# Each check below prints the sentence that mends what it found, or nothing.

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

# An engine that is too old ignores what protects the lab, so it is refused.
check_engine() {
    if ! command -v docker >/dev/null; then
        echo "docker is not found: install Docker Engine 25 or later with its Compose and buildx plugins."
        return
    fi
    if ! version=$(docker version --format '{{.Server.Version}}' 2>&1); then
        case $version in
        *"permission denied"*) echo "your user may not use the Docker engine: run 'sudo usermod -aG docker $(id -un)', then log in again." ;;
        *) echo "no Docker engine answers${DOCKER_HOST:+ at DOCKER_HOST, $DOCKER_HOST}: start it; 'docker info' says more." ;;
        esac
        return
    fi
    needed "Docker Compose" 2 39 "$(docker compose version --short 2>/dev/null)"
    if [ "$(engine_kind)" = podman ]; then
        needed Podman 4 3 "$version"
        # `podman` builds what `docker` runs: both have to mean the same engine, and one without root.
        own="$(podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphRoot}}' 2>/dev/null)"
        asked="true $(docker info --format '{{.DockerRootDir}}')"
        [ "$own" = "$asked" ] ||
            echo "docker asks a Podman that is not your own ('podman info' says '$own', not '$asked'): run 'systemctl --user start podman.socket' as yourself, and set DOCKER_HOST=unix://\$XDG_RUNTIME_DIR/podman/podman.sock."
        return
    fi
    needed "Docker Engine" 25 0 "$version"
    needed "Docker buildx" 0 12 "$(docker buildx version 2>/dev/null | cut -d ' ' -f 2)"
}

# needed WHAT MAJOR MINOR VERSION
needed() {
    number=${4#v}
    major=${number%%.*}
    minor=${number#*.}
    minor=${minor%%[!0-9]*}
    if ! whole_number "$major" 0 9999 || ! whole_number "$minor" 0 9999; then
        echo "$1 is missing: install it, $2.$3 or later."
    elif [ "$major" -lt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -lt "$3" ]; }; then
        echo "$1 is $number, and $2.$3 or later is needed: update it."
    fi
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

# For what needs more of the builder than an image.
check_buildkit() {
    [ "$(engine_kind)" != podman ] ||
        echo "this needs BuildKit, and the engine is Podman, which has none: run it where Docker is."
}

check_compose_file() {
    named=$(setting COMPOSE_FILE '')
    case $(engine_kind):$named in
    podman:*lab/runtime/podman.yaml*) ;;
    podman:*) echo "the engine is Podman, and COMPOSE_FILE is '$named': put COMPOSE_FILE=compose.yaml:lab/runtime/podman.yaml:compose.override.yaml into .env." ;;
    *:*lab/runtime/podman.yaml*) echo "COMPOSE_FILE is '$named', and the engine is not Podman: delete the line from .env." ;;
    esac
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
