# Checks that .env belongs to this folder and contains only known settings, for `make doctor`.
# shellcheck shell=sh

check_env_file() {
    check_env_name
    [ -f .env ] || return 0
    env_lines | while read -r number name word; do
        case $name in
        COMPOSE_* | DOCKER_* | BUILDKIT_*) continue ;;
        '?') problem="line $number of .env, '$word ...', is not NAME=VALUE" ;; # the rest of the line may be a password
        *)
            if grep -q "^$name=" sample.env || grep -qs "[$]{*$name" compose.override.yaml; then continue; fi
            problem="$name in .env is not a setting of this lab, and compose.override.yaml does not use it"
            ;;
        esac
        echo "$problem. Correct the line, or run 'sed -i.bak \"${number}s/^/# /\" .env' to turn it into a comment."
    done
}

# `make env` makes LAB_NAME from the folder's path. In a copy of the folder, LAB_NAME still fits the original path.
check_env_name() {
    name=$(setting LAB_NAME)
    slug=$(default LAB_NAME)
    if matches "$name" "$slug-[0-9a-f]{6}" && [ "$name" != "$(own_name)" ]; then
        echo "LAB_NAME is '$name', which does not fit this folder's path. The folder was moved, or .env was copied from another folder. Run '$(into_env "LAB_NAME=$(own_name)")' to set this folder's own name."
    else
        check_same_name
    fi
}
