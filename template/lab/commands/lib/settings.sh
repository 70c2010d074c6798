# The settings of this folder, as Compose reads them, and how to refuse: `. lab/commands/lib/settings.sh`.
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
