# Reads the settings in the same way as Compose, and ends a command if a check finds a problem.
# shellcheck shell=sh

# refuse MESSAGE: print MESSAGE and end the script. MESSAGE names the problem, the value and the fix.
refuse() {
    printf 'labdock: %s\n' "$*" >&2
    exit 1
}

# require CHECK...: end the script with the first problem that one of the checks prints.
require() {
    for check in "$@"; do
        problem=$($check)
        [ -z "$problem" ] || refuse "$(printf '%s\n' "$problem" | head -n 1)"
    done
}

# Compose itself reads the variables of the shell and .env, with quotes, comments and line ends. COMPOSE_PROJECT_NAME is
# always set to the project's name. `settings` is empty if Compose cannot read .env.
settings=$({ grep '^name:' compose.yaml && echo 'services: {any: {image: any}}'; } |
    docker compose --project-directory . --file - config --environment 2>/dev/null) || settings=

# setting NAME [FALLBACK]: print the value of NAME. If the value is empty, print the default in sample.env. If the default is
# empty too, print FALLBACK.
setting() {
    value=$(printf '%s\n' "$settings" | sed -n "s/^$1=//p" | tail -n 1)
    [ -n "$value" ] || value=$(default "$1")
    printf '%s\n' "${value:-${2:-}}"
}

# default NAME: print the value of NAME in sample.env. A test compares the defaults there with compose.yaml.
default() {
    sed -n "s/^$1=//p" sample.env
}

# answers_file: print the option that Copier needs if the project was made with `copier copy --answers-file`.
answers_file() {
    name=$(cat lab/answers-file.txt)
    [ "$name" = .copier-answers.yml ] || printf ' --answers-file %s\n' "$name"
}

# image STAGE: print the name of the image, as in compose.yaml. `docker compose config --images SERVICE` also prints the images
# of other services, in any order.
image() {
    printf '%s-%s\n' "$(setting LAB_NAME)" "$1"
}

# Compose finds this build secret in .env too. buildx and Podman look in the environment only.
PIP_INDEX_URL=$(setting PIP_INDEX_URL)
[ -z "$PIP_INDEX_URL" ] || export PIP_INDEX_URL

# whole_number VALUE LOWEST HIGHEST: true if VALUE is a number in this range, without a sign or leading zeros.
whole_number() {
    case $1 in '' | *[!0-9]* | 0?* | ???????????*) return 1 ;; esac
    [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

# bytes SIZE: print the bytes of a size such as 4g, 1.5g or 800m. If SIZE is not a size, print 0. The largest
# result is 2^60.
bytes() {
    if ! matches "$1" '[0-9]+([.][0-9]+)?([kmgKMG][bB]?|[bB])'; then
        echo 0
        return
    fi
    echo "$1" | awk '{
        unit = tolower($1)
        gsub(/[0-9.]|b$/, "", unit)
        factor = 1
        if (unit == "k") factor = 1024
        if (unit == "m") factor = 1024 * 1024
        if (unit == "g") factor = 1024 * 1024 * 1024
        bytes = $1 * factor
        if (bytes > 1152921504606846976) bytes = 1152921504606846976
        printf "%.0f\n", int(bytes)
    }'
}

# checkout_number: print a number made from this folder's path. Two checkouts have different numbers.
checkout_number() {
    pwd -P | tr -d '\n' | cksum | cut -d ' ' -f 1
}
