# Reads the lines of .env, and finds values that Compose changes.
# shellcheck shell=sh

# check_env_values: a password may be in the value, so no message prints the value or a part of it.
check_env_values() {
    [ -f .env ] || return 0
    env_lines | while read -r number name fault variable; do
        case $fault in
        variable)
            # `settings` is empty if Compose cannot read the file. Then the cause is another line.
            if [ -z "$settings" ] || printf '%s\n' "$settings" | grep -q "^$variable="; then continue; fi
            echo "line $number of .env: Compose reads a '\$' in $name as the start of a variable's name. This variable is not set, so the value loses a part. Write $name='VALUE' with single quotes, or write '\$\$' for '\$'."
            ;;
        brace) echo "line $number of .env: Compose cannot read '\${' in $name. Write $name='VALUE' with single quotes, or write '\$\$' for '\$'." ;;
        quote) echo "line $number of .env: Compose ignores the text after the closing quote in $name. Write one pair of quotes around the whole value." ;;
        esac
    done
}

# env_lines: print "NUMBER NAME [FAULT [VARIABLE]]" for each setting in .env, and "NUMBER ? WORD" for a line that Compose cannot
# read. FAULT is one of four words. variable, brace and quote are explained above. comment means that Compose cuts the value at
# a # without a space after it.
env_lines() {
    LC_ALL=C awk '
        NR == 1 { sub(/^\357\273\277/, "") } # a byte order mark
        { sub(/\r$/, "") }

        # Inside a quoted value of several lines, wait for the closing quote.
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
            first = substr(value, 1, 1)
            if (first == "\"" || first == "\047") {
                value = substr(value, 2)
                if (!index(value, first)) quote = first
            }
            print NR, name, fault()
        }

        # fault: return the FAULT of `value`, or nothing. $$ means $. In double quotes, \$ also means $.
        function fault() {
            if (first == "\"") gsub(/\\./, "", value)
            if (first == "\"" || first == "\047") {
                after = index(value, first) ? substr(value, index(value, first) + 1) : ""
                if (after !~ /^[ \t]*(#|$)/) return "quote"
                if (first == "\047") return ""
                sub(/".*/, "", value)
            } else if (value ~ /[ \t]#[^ \t#]/ && value !~ /[ \t]#[ \t#]/) {
                return "comment"
            } else {
                sub(/[ \t]#.*/, "", value)
            }
            gsub(/[$][$]/, "", value)
            if (value ~ /[$][{]([^A-Za-z_]|$)/ || value ~ /[$][{][^}]*$/) return "brace"
            if (!match(value, /[$]([A-Za-z_][A-Za-z0-9_]*|[{][A-Za-z_][A-Za-z0-9_]*[}])/)) return ""
            word = substr(value, RSTART + 1, RLENGTH - 1)
            gsub(/[{}]/, "", word)
            return "variable " word
        }' .env
}
