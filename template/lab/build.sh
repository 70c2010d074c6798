#!/bin/sh
# Steps of the Dockerfile, run as root at build time only. A step that fails ends with one sentence that says why.
#
#   build.sh uv LOCK                 install uv, the installer of the other steps
#   build.sh environment DIR LOCK    make the virtual environment DIR hold exactly LOCK, hashes checked
#   build.sh system PACKAGE...       install distribution packages, compile the standard library, drop setuid bits, let any id have a name
set -eu

# A site's own certificates, where compose.yaml hands some over (LAB_CA_BUNDLE).
ca=/run/secrets/ca
if [ -s "$ca" ]; then
    export SSL_CERT_FILE="$ca" PIP_CERT="$ca"
fi
if [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
else
    unset PIP_INDEX_URL
fi

# apt and curl read a proxy's name in lower case only.
export http_proxy="${HTTP_PROXY:-}" https_proxy="${HTTPS_PROXY:-}" no_proxy="${NO_PROXY:-}"

# A lost answer of a name server costs a second and is asked for again, instead of failing the build after ten.
export RES_OPTIONS="timeout:1 attempts:6" UV_HTTP_RETRIES=6

log=$(mktemp)

# attempt WHAT SETTING COMMAND...: run COMMAND and show what it prints; where it fails, say why.
attempt() {
    what=$1
    setting=$2
    shift 2
    # POSIX sh has no pipefail: the status travels through a file.
    { "$@" 2>&1 || echo "$?" >"$log.status"; } | tee "$log"
    [ -s "$log.status" ] || return 0
    if grep -qiE 'no space left on device|os error 28' "$log"; then
        reason="the disk is full ($(df -hP / | awk 'NR==2 {print $4}') free): free some with 'docker system prune'"
    elif grep -qiE 'certificate|self.signed|UnknownIssuer' "$log"; then
        found=$(grep -sc 'BEGIN CERTIFICATE' "$ca" || true)
        reason="the certificate of $what is not trusted (LAB_CA_BUNDLE adds ${found:-0}): name your site's CA bundle in .env, LAB_CA_BUNDLE=/path/to/bundle.pem"
    elif grep -qiE 'hash(es)? mismatch|do not match the hashes|hash sum mismatch' "$log"; then
        reason="a file differs from what was locked: try again, and if it stays so do not trust $what"
    elif [ -n "${DEBIAN_PINS:-}" ] && grep -qE 'unmet dependencies|held broken packages' "$log"; then
        reason="the distribution's mirror has moved on from compose.pins.yaml: 'make pin' takes what there is"
    elif grep -qiE 'resolve|connect|timed? ?out|unreachable|network|proxy|temporary failure|fetch' "$log"; then
        # Credentials in an address stay out of sight.
        value=$(printenv "$setting" | sed 's#//[^/@]*@#//#') || true
        reason="$what cannot be reached ($setting is '$value'): set $setting or HTTP_PROXY and HTTPS_PROXY in .env"
    else
        reason="$* failed: the lines above say why"
    fi
    echo "labdock: $reason." >&2
    exit 1
}

# compile DIR: see compile.py; a fixed seed gives equal bytes.
compile() {
    PYTHONHASHSEED=0 python3 -W ignore "$(dirname "$0")/compile.py" "$1"
}

step=$1
shift
case $step in
uv)
    attempt "the package index" PIP_INDEX_URL python3 -m pip install --quiet --no-compile --root-user-action=ignore \
        --disable-pip-version-check --require-hashes --requirement "$1"
    ;;
environment)
    attempt "the package index" PIP_INDEX_URL uv venv --quiet --python "$(command -v python3)" "$1"
    attempt "the package index" PIP_INDEX_URL uv pip sync --python "$1" --require-hashes \
        --build-constraints "$(dirname "$0")/build.lock" "$2" # what comes as source is built by locked tools too
    rm -f "$1/.lock" # uv leaves it writable for everybody
    # A fifth of the bytes are packages' own tests, which nobody imports; source maps serve only who debugs JupyterLab.
    find "$1" -depth -type d -name tests -exec rm -rf {} + -o -name '*.js.map' -delete
    compile "$1"
    ;;
system)
    sources=/etc/apt/sources.list.d/debian.sources
    cp "$sources" /tmp/sources
    if [ -n "${DEBIAN_SECURITY_MIRROR:-}" ]; then
        sed -i "s#^URIs: .*security.*#URIs: $DEBIAN_SECURITY_MIRROR#" "$sources"
    fi
    if [ -n "${DEBIAN_MIRROR:-}" ]; then
        sed -i "/security/! s#^URIs: .*#URIs: $DEBIAN_MIRROR#" "$sources"
    fi
    if [ -s "$ca" ]; then
        echo "Acquire::https::CAInfo \"$ca\";" >/etc/apt/apt.conf.d/99-site-ca
    fi
    for pin in ${DEBIAN_PINS:-}; do
        printf 'Package: %s\nPin: version %s\nPin-Priority: 990\n\n' "${pin%%=*}" "${pin#*=}"
    done >/etc/apt/preferences.d/99-pins
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p /usr/share/man/man1 # slim images lack it, and Java's package fails without
    attempt "the distribution's mirror" DEBIAN_MIRROR apt-get update -qq --error-on=any -o Acquire::Retries=3
    # shellcheck disable=SC2086 # names, with spaces between them
    attempt "the distribution's mirror" DEBIAN_MIRROR apt-get install -qq -o Acquire::Retries=3 --no-install-recommends \
        "$@" ${DEBIAN_PACKAGES:-}
    moved=
    for pin in ${DEBIAN_PINS:-}; do # apt takes another version where the pinned one is gone
        # shellcheck disable=SC2016 # dpkg's own variable
        now=$(dpkg-query --show --showformat '${Version}' "${pin%%=*}" 2>/dev/null) || continue
        [ "$now" = "${pin#*=}" ] || moved="$moved${moved:+; }${pin%%=*} ${pin#*=}, now $now"
    done
    if [ -n "$moved" ]; then
        echo "labdock: the distribution's mirror has moved on from compose.pins.yaml ($moved): 'make pin' takes what there is." >&2
        exit 1
    fi
    mv /tmp/sources "$sources"
    rm -rf /etc/apt/apt.conf.d/99-site-ca /etc/apt/preferences.d/99-pins /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
        /var/cache/ldconfig/aux-cache /var/log/* /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
    compile "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
    # Whoever runs the lab has a name: at each start the entrypoint writes these two, on a tmpfs.
    for file in passwd group; do
        mv "/etc/$file" "/etc/$file.image"
        ln -s "/run/lab/$file" "/etc/$file"
    done
    ln -s /opt/labdock/ipython /etc/ipython
    # shellcheck disable=SC2016 # the shell that reads it expands it: those that the engine starts, make shell's, an editor's
    echo 'umask "${LAB_UMASK:-022}"' >>/etc/bash.bashrc
    install -d -m 1777 /var/lib/lab # a new volume takes this mode: every uid may make its own folder there
    ;;
*)
    echo "build.sh: unknown step '$step'" >&2
    exit 2
    ;;
esac
rm -f "$log" "$log.status"
