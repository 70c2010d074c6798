# Finds a program that makes and checks SHA-256 sums: `$sha256 FILE...` and `$sha256 -c SUMS`. Old versions of macOS have only shasum.
# shellcheck shell=sh disable=SC2034

sha256=
if command -v sha256sum >/dev/null; then
    sha256=sha256sum
elif command -v shasum >/dev/null; then
    sha256="shasum -a 256"
fi

check_sha256() {
    [ -n "$sha256" ] || echo "neither sha256sum nor shasum is found. Install one of them."
}
