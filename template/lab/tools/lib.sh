# Shared by the scripts beside it: `. lab/tools/lib.sh` in the project's folder.
# shellcheck shell=sh

# refuse SENTENCE: what is wrong, the value seen and the mend; ends the script.
refuse() {
    echo "labdock: $*" >&2
    exit 1
}

# setting NAME DEFAULT: what Compose will see: the shell's variable, else the line in .env; empty counts as unset.
setting() {
    value=$(printenv "$1" || true)
    if [ -z "$value" ] && [ -f .env ]; then
        value=$(tr -d '\r' <.env | sed -n "s/^[[:space:]]*$1=//p" | tail -n 1 |
            sed "s/[[:space:]]#.*\$//; s/[[:space:]]*\$//; s/^\"\(.*\)\"\$/\1/; s/^'\(.*\)'\$/\1/")
    fi
    echo "${value:-$2}"
}

# whole_number VALUE LOWEST HIGHEST: true where it is one.
whole_number() {
    case $1 in '' | *[!0-9]* | ???????????*) return 1 ;; esac
    [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

# checkout_number: a number that this folder's path decides, so that two checkouts differ.
checkout_number() {
    printf %s "$PWD" | cksum | cut -d ' ' -f 1
}

# Each check prints the sentence that mends what it found, or nothing.
check_ids() {
    for name in LAB_UID LAB_GID; do
        value=$(setting "$name" 1000)
        flag=$(echo "$name" | sed 's/LAB_UID/u/; s/LAB_GID/g/')
        if ! whole_number "$value" 1 2147483647; then
            echo "$name is '$value', not a number from 1 to 2147483647: put the number that 'id -$flag' prints into .env."
        fi
    done
}

check_port() {
    value=$(setting JUPYTER_PORT 8888)
    whole_number "$value" 0 65535 ||
        echo "JUPYTER_PORT is '$value', not a number from 0 to 65535 (0 takes any free port): mend it in .env."
}

check_ui() {
    value=$(setting JUPYTER_UI lab)
    case $value in lab | notebook) ;; *) echo "JUPYTER_UI is '$value': put lab or notebook into .env." ;; esac
}

check_username() {
    value=$(setting JUPYTER_USERNAME jovyan)
    echo "$value" | grep -qE '^[a-z_][a-z0-9_-]{0,31}$' ||
        echo "JUPYTER_USERNAME is '$value', not a user name (a-z, 0-9, _ and -, a letter first): mend it in .env."
}

check_limits() {
    value=$(setting LAB_CPUS 2)
    whole_number "$value" 1 9999 || echo "LAB_CPUS is '$value', not a whole number of processors: mend it in .env."
    value=$(setting LAB_PIDS 512)
    whole_number "$value" 32 4194304 || echo "LAB_PIDS is '$value', not a number from 32 to 4194304: mend it in .env."
    value=$(setting LAB_MEMORY 4g)
    echo "$value" | grep -qiE '^[0-9]+(\.[0-9]+)?[bkmg]b?$' ||
        echo "LAB_MEMORY is '$value', not a size such as 4g or 800m: mend it in .env."
}

check_folders() {
    for folder in data notebooks secrets; do
        [ -d "$folder" ] || echo "$folder/ is missing, and the lab mounts it: run 'mkdir $folder'."
    done
}

check_ca() {
    value=$(setting LAB_CA_BUNDLE lab/no-ca.pem)
    [ -r "$value" ] || echo "LAB_CA_BUNDLE is '$value', which cannot be read: name your site's PEM file in .env."
}

# An engine that is too old ignores what protects the lab, so it is refused.
check_engine() {
    command -v docker >/dev/null || {
        echo "docker is not found: install Docker Engine 25 or later with the Compose plugin."
        return
    }
    value=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || {
        echo "no Docker engine answers: start it, or let your user reach it (docker info says why)."
        return
    }
    whole_number "${value%%.*}" 25 9999 || echo "the Docker engine is $value, 25 or later is needed: update it."
    value=$(docker compose version --short 2>/dev/null) || {
        echo "docker compose is missing: install the Compose plugin, 2.24 or later."
        return
    }
    value=${value#v}
    minor=${value#*.}
    minor=${minor%%.*}
    whole_number "${value%%.*}" 3 9999 || { [ "${value%%.*}" = 2 ] && whole_number "$minor" 24 9999; } ||
        echo "docker compose is $value, 2.24 or later is needed: update the Compose plugin."
}
