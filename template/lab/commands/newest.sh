#!/bin/sh
# Say whether the template has a newer version than this project's. Git alone asks its source, for five seconds at most.
set -eu

# answer NAME: as Copier keeps it.
answer() {
    sed -n "s/^$1: *//p" .copier-answers.yml 2>/dev/null | tr -d "\"'"
}

# within SECONDS COMMAND...: run it, and end it where it takes longer. (macOS has no `timeout`.)
within() {
    seconds=$1
    shift
    "$@" &
    asked=$!
    (
        cd / && trap 'kill $sleep; exit' TERM
        sleep "$seconds" & sleep=$!
        wait $sleep && kill "$asked"
    ) >/dev/null 2>&1 &
    limit=$!
    code=0
    wait "$asked" 2>/dev/null || code=$?
    kill "$limit" 2>/dev/null || true
    return $code
}

# newest VERSION: of the versions that come in, one a line, the newest final one, if it is newer. As PEP 440 orders them:
# 1.10 after 1.9, 1.0.post1 after 1.0, 1.0rc1 before it; neither "v" counts, nor what `git describe` adds.
newest() {
    awk -v have="$1" '
        function key(text, parts, rest) {
            sub(/^[vV]/, "", text)
            sub(/-[0-9]+-g[0-9a-f]+$/, "", text)
            sub(/[+].*/, "", text)
            if (!match(text, /^[0-9]+([.][0-9]+)*/)) return ""
            rest = tolower(substr(text, RLENGTH + 1))
            split(substr(text, 1, RLENGTH), parts, ".")
            if (rest ~ /^[-._]?(dev|a|b|c|rc|alpha|beta|pre|preview)[-._0-9]*$/) phase = 1
            else if (rest == "") phase = 2
            else if (rest ~ /^([-._]?(post|rev|r)[-._]?[0-9]*|-[0-9]+)$/) phase = 3
            else return ""
            gsub(/[^0-9]/, "", rest)
            return sprintf("%09d %09d %09d %09d %d %09d", parts[1], parts[2], parts[3], parts[4], phase, rest)
        }
        BEGIN { best = key(have) }
        { found = key($0) }
        found != "" && phase > 1 && found > best { best = found; name = $0 }
        END { if (name != "") print name }'
}

version=$(answer _commit)
source=$(answer _src_path)
case $source in
gh:*) source=https://github.com/${source#gh:} ;;
gl:*) source=https://gitlab.com/${source#gl:} ;;
git+*) source=${source#git+} ;;
esac
case $version in
[0-9]*.* | [vV][0-9]*.*) ;;
*)
    echo "note  this project does not say which version of the template it has ('$version'): 'copier update' takes the newest."
    exit 0
    ;;
esac

tags=$(mktemp)
trap 'rm -f "$tags"' EXIT
trap 'exit 130' HUP INT TERM
if GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -o BatchMode=yes}" \
    within 5 git ls-remote --tags --refs "$source" >"$tags" 2>/dev/null; then
    newer=$(sed 's#.*refs/tags/##' "$tags" | newest "$version")
    if [ -n "$newer" ]; then
        echo "note  the template's $newer is out, and this project has $version: run 'copier update'."
    else
        echo "ok    the template has no newer version than this project's, $version"
    fi
else
    source=$(printf '%s\n' "$source" | sed 's#//[^/@]*@#//#') # without a password
    echo "note  this project has the template's $version; whether there is a newer one, $source does not say."
fi
