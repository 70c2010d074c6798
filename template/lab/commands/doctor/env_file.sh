# Checks that .env belongs to this folder and contains only known settings, for `make doctor`.
# shellcheck shell=sh

check_env_file() {
    [ -f .env ] || return 0
    check_env_name
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

# `make env` makes LAB_NAME from the folder's path. In a copy of the folder, LAB_NAME still belongs to the original.
check_env_name() {
    name=$(setting LAB_NAME)
    slug=$(default LAB_NAME)
    own=$slug-$(printf %06x $(($(checkout_number) % 16777216)))
    if matches "$name" "$slug-[0-9a-f]{6}" && [ "$name" != "$own" ]; then
        echo "LAB_NAME is '$name', which belongs to another folder, because this .env is a copy. Run '$(into_env "LAB_NAME=$own")' to set this folder's own name."
    fi
}

# env_lines: "NUMBER NAME" for each setting in .env, and "NUMBER ? WORD" for a line that Compose cannot read.
env_lines() {
    LC_ALL=C awk '
        NR == 1 { sub(/^\357\273\277/, "") } # a byte order mark
        { sub(/\r$/, "") }

        # Inside a quoted value of several lines: wait for the closing quote.
        quote != "" {
            if (index($0, quote)) quote = ""
            next
        }
        /^[ \t]*(#|$)/ { next }
        !/^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_.-]*[ \t]*[=:]/ {
            print NR, "?", $1
            next
        }
        {
            sub(/^[ \t]*(export[ \t]+)?/, "")
            name = value = $0
            sub(/[ \t]*[=:].*/, "", name)
            sub(/^[^=:]*[=:][ \t]*/, "", value)
            print NR, name
            first = substr(value, 1, 1)
            if ((first == "\"" || first == "\047") && !index(substr(value, 2), first)) quote = first
        }' .env
}
