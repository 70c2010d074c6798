#!/bin/sh
# This is mmdebstrap's customize hook. It runs on the host. $1 is the new root file system, a minimal Debian with
# Debian's Python. After the hook, a Dockerfile for the official slim image also works with this file system.
# The hook reads STANDIN_VERSION (such as 3.13), STANDIN_SUITE, STANDIN_MIRROR and STANDIN_SECURITY (may be empty). It
# writes Python's full version to $STANDIN_NOTES/version.
set -eu
root=$1
python="/usr/bin/python$STANDIN_VERSION"
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

# Put python3, python and pip into /usr/local/bin, and allow pip to install packages.
for name in "python$STANDIN_VERSION" python3 python; do
    ln -s "$python" "$root/usr/local/bin/$name"
done
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
for wheel in "$root"/usr/share/python-wheels/pip-*.whl; do
    wheel=${wheel#"$root"}
    PYTHONPATH=$wheel chroot "$root" "$python" -m pip install --quiet --root-user-action=ignore \
        --no-compile --no-index --no-deps "$wheel"
done
chroot "$root" "$python" -c 'import platform; print(platform.python_version())' \
    >"$STANDIN_NOTES/version"

# Remove bytecode, logs and caches. mmdebstrap itself removes apt's lists.
find "$root/usr" -depth -name __pycache__ -exec rm -rf {} +
find "$root/var/log" "$root/var/cache" -type f ! -name '*.dat' -delete

# Set up apt as in the official image, but with this machine's mirror. Keep this machine's apt settings that check the
# mirror's dates. Remove this machine's settings for proxies and certificates.
for keys in "$root"/usr/share/keyrings/debian-archive-keyring.*; do
    keys=${keys#"$root"}
done
suites=$STANDIN_SUITE
[ "$suites" = testing ] || suites="$suites $suites-updates"
entry() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$@" "$keys"
}
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
{
    entry "$STANDIN_MIRROR" "$suites"
    [ -z "$STANDIN_SECURITY" ] || {
        echo
        entry "$STANDIN_SECURITY" "$STANDIN_SUITE-security"
    }
} >"$root/etc/apt/sources.list.d/debian.sources"
cd "$root/etc/apt/apt.conf.d"
if [ -e 99mmdebstrap ]; then
    grep '^Acquire::Check-' 99mmdebstrap >90mirror || rm 90mirror
    rm 99mmdebstrap
fi
echo 'APT::Keep-Downloaded-Packages "false"; Dir::Cache { pkgcache ""; srcpkgcache ""; };' >docker-clean
echo 'Acquire::Languages "none";' >docker-no-languages
