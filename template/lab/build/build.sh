#!/bin/sh
# Steps of the Dockerfile, run as root at build time only. A step that fails ends with one sentence that says why.
#
#   build.sh uv LOCK                 install uv, the installer of the other steps
#   build.sh environment DIR LOCK [LARGE]
#                                    make the virtual environment DIR hold exactly LOCK, hashes checked; its packages of over
#                                    10 MB go to LARGE, to be a layer that adding a small one leaves as it is
#   build.sh system PACKAGE...       install distribution packages, compile the standard library, drop setuid bits, let any id have a name
#   build.sh wheels DIR              for `make bundle`: put every package of the four locks into DIR/wheels, and all that the
#                                    bundle holds which the project was restored from
#   build.sh more DIR NAMES DEBS     put the packages NAMES there too, what they depend on, and what builds those that come as
#                                    source; and into DIR/debs, for apt, those of the distribution packages DEBS that the base
#                                    lacks
set -eu

# A site's own certificates, where compose.yaml hands some over (LAB_CA_BUNDLE).
ca=/run/secrets/ca
if [ -s "$ca" ]; then
    export SSL_CERT_FILE="$ca" PIP_CERT="$ca"
fi
# The package index, which may hold a password: a secret, and no argument that the image's history would show.
index=/run/secrets/index
if [ -s "$index" ]; then
    read -r PIP_INDEX_URL more <"$index" || true # the file ends without a newline
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
    [ -z "$more" ] || export UV_INDEX="$more" PIP_EXTRA_INDEX_URL="$more" # asked first
fi
# A project restored from a bundle asks no network.
offline=
if [ -e /bundle/SHA256SUMS ]; then
    offline="--no-index --find-links /bundle/wheels"
fi

# apt and curl read a proxy's name in lower case only.
export http_proxy="${HTTP_PROXY:-}" https_proxy="${HTTPS_PROXY:-}" no_proxy="${NO_PROXY:-}"

# A lost answer of a name server costs a second and is asked for again, instead of failing the build after ten.
export RES_OPTIONS="timeout:1 attempts:6" UV_HTTP_RETRIES=6

log=$(mktemp)
# A wrong password is an error, not a question; pip tells it to its own log only.
export PIP_NO_INPUT=1 PIP_LOG="$log.pip"

# masked: what comes in, without the name and password of any address.
masked() {
    sed -u 's#//[^[:space:]]*@#//#g'
}

# address SETTING: its value, for a message; every package index, where there are several.
address() {
    if [ "$1" = PIP_INDEX_URL ]; then cat "$index" 2>/dev/null; else printenv "$1"; fi | masked || true
}

# damaged: the first file of which uv or pip says that it is no whole archive; fails where there is none.
damaged() {
    sed -n "s/.*Failed to extract archive: //p; s/.*Wheel '\(.*\)' located at .* is invalid.*/\1/p" "$log" | grep -m 1 .
}

# attempt WHAT SETTING COMMAND...: run COMMAND and show what it prints; where it fails, say why.
attempt() {
    what=${offline:+the bundle in lab/bundle}
    what=${what:-$1}
    setting=$2
    shift 2
    # POSIX sh has no pipefail: the status travels through a file.
    { "$@" 2>&1 || echo "$?" >"$log.status"; } | masked | tee "$log"
    [ -s "$log.status" ] || return 0
    if grep -qiE 'no space left on device|os error 28' "$log"; then
        reason="the disk is full ($(df -hP / | awk 'NR==2 {print $4}') free): free some with 'docker system prune'"
    elif grep -qsE '40[13] (Error|Client Error|Unauthorized|Forbidden)' "$log" "$log.pip"; then
        reason="$what refuses your name or password ($setting is '$(address "$setting")'): mend it in .env"
    elif grep -qE "^E: Version '.*' was not found" "$log"; then
        reason="$what has newer packages than your image: run 'docker compose build --no-cache', then this again"
    elif file=$(damaged); then
        reason="$what gave a damaged file ($file): try again, and if it stays so do not trust $what"
    elif grep -qiE 'certificate|self.signed|UnknownIssuer' "$log"; then
        found=$(grep -sc 'BEGIN CERTIFICATE' "$ca" || true)
        reason="the certificate of $what is not trusted (LAB_CA_BUNDLE adds ${found:-0}): name your site's CA bundle in .env, LAB_CA_BUNDLE=/path/to/bundle.pem"
    elif grep -qiE 'hash(es)? mismatch|do not match the hashes|hash sum mismatch' "$log"; then
        reason="a file differs from what was locked: try again, and if it stays so do not trust $what"
    elif [ -n "${DEBIAN_PINS:-}" ] && grep -qE 'unmet dependencies|held broken packages' "$log"; then
        reason="the distribution's mirror has moved on from compose.pins.yaml: 'make pin' takes what there is"
    elif [ -n "$offline" ]; then
        reason="the bundle in lab/bundle does not hold what this step needs (the lines above name it): make another bundle, or empty that folder but for .gitkeep to build from the network"
    elif grep -qiE 'resolve|connect|timed? ?out|unreachable|network|proxy|temporary failure|fetch' "$log"; then
        reason="$what cannot be reached ($setting is '$(address "$setting")'): set $setting or HTTP_PROXY and HTTPS_PROXY in .env"
    elif missing=$(grep -m 1 '^ERROR: No matching distribution found for' "$log"); then
        reason="$what holds no '${missing##* for }' that fits: look for its name and versions there"
    else
        reason="$* failed: the lines above say why"
    fi
    echo "labdock: $reason." >&2
    exit 1
}

# use_mirrors: point apt at the bundle, or at the site's mirrors; /tmp/sources is what was there.
sources=/etc/apt/sources.list.d/debian.sources
use_mirrors() {
    cp "$sources" /tmp/sources
    if [ -n "$offline" ]; then
        attempt "the distribution's mirror" DEBIAN_MIRROR sh -c 'cd /bundle && grep " [.]/debs/" SHA256SUMS | sha256sum --check --quiet'
        printf 'Types: deb\nURIs: file:/bundle/debs\nSuites: ./\nTrusted: yes\n' >"$sources"
    else
        if [ -n "${DEBIAN_SECURITY_MIRROR:-}" ]; then
            sed -i "s#^URIs: .*security.*#URIs: $DEBIAN_SECURITY_MIRROR#" "$sources"
        fi
        if [ -n "${DEBIAN_MIRROR:-}" ]; then
            sed -i "/security/! s#^URIs: .*#URIs: $DEBIAN_MIRROR#" "$sources"
        fi
    fi
    if [ -s "$ca" ]; then
        echo "Acquire::https::CAInfo \"$ca\";" >/etc/apt/apt.conf.d/99-site-ca
    fi
    for pin in ${DEBIAN_PINS:-}; do
        printf 'Package: %s\nPin: version %s\nPin-Priority: 990\n\n' "${pin%%=*}" "${pin#*=}"
    done >/etc/apt/preferences.d/99-pins
    # What packages date themselves (users, caches) has the same date each time.
    export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=315532800
    attempt "the distribution's mirror" DEBIAN_MIRROR apt-get update -qq --error-on=any -o Acquire::Retries=3
}

# leave_out DIR: delete packages' own tests from the virtual environment DIR, a fifth of its bytes, but for what a module
# outside of them imports as it starts, in a line that is not indented; and source maps, for who debugs JupyterLab only.
leave_out() {
    python3 -c '
import pathlib, re, shutil, sys
(site,) = pathlib.Path(sys.argv[1]).glob("lib/python*/site-packages")
line = re.compile(r"^(?:from|import) +(\.*)([\w.]*)(?: +import +([^#\n]*))?", re.M)
imported = set()
for path in site.rglob("*.py"):
    if "tests" in path.relative_to(site).parts:
        continue
    for dots, module, names in line.findall(path.read_text("latin-1")):
        parts = module.split(".") + re.findall(r"\btests\b", names)
        if "tests" in parts:
            start = path.parents[len(dots) - 1] if dots else site
            imported.add(start.joinpath(*parts[: parts.index("tests") + 1]))
for folder in sorted(site.rglob("tests"), reverse=True):
    if folder.is_dir() and not imported & {folder, *folder.parents}:
        shutil.rmtree(folder)
' "$1"
    find "$1" -name '*.js.map' -delete
}

# compile DIR: see compile_bytecode.py; a fixed seed gives equal bytes.
compile() {
    PYTHONHASHSEED=0 python3 -W ignore "$(dirname "$0")/compile_bytecode.py" "$1"
}

# set_apart DIR LARGE: move each package of over 10 MB out of the virtual environment DIR, to the same place in LARGE.
set_apart() {
    mkdir "$2"
    cd "$1"
    for folder in lib/python*/site-packages/*/; do
        size=$(find "$folder" -type f -printf '%s\n' | awk '{sum += $1} END {printf "%.0f", sum}')
        [ "$size" -gt 10000000 ] || continue
        mkdir -p "$2/${folder%/*/}"
        mv "$folder" "$2/${folder%/*/}"
    done
}

# date_certificates: Java's store of them says when each came in, which differs from build to build. It gets the date of
# everything else, and a new checksum, where the old one shows that this is the format (JKS) and the usual password.
date_certificates() {
    python3 -c '
import hashlib, os, pathlib
store = pathlib.Path("/etc/ssl/certs/java/cacerts")
content, checksum = bytearray(store.read_bytes()[:-20]), store.read_bytes()[-20:]
check = lambda: hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + content).digest()
after = lambda at, size: at + size + int.from_bytes(content[at : at + size])
date, at = (int(os.environ["SOURCE_DATE_EPOCH"]) * 1000).to_bytes(8), 12
if check() == checksum:
    while content[at : at + 4] == b"\0\0\0\2": # a certificate: then name, date, type, bytes
        at = after(at + 4, 2)
        content[at : at + 8] = date
        at = after(after(at + 8, 2), 4)
    store.write_bytes(content + check())
'
}

# download DIR WORD...: what `pip download WORD...` finds, into DIR.
download() {
    folder=$1
    shift
    # shellcheck disable=SC2086 # $offline is no option, or three words
    attempt "the package index" PIP_INDEX_URL python3 -m pip download --quiet --disable-pip-version-check $offline \
        --dest "$folder" "$@"
}

# versions LOCK: NAME==VERSION of each package in it, without hashes.
versions() {
    sed -n 's/^\([a-z0-9].*[^ ]\) *\\$/\1/p' "$1"
}

# builders SOURCE...: what builds these packages that come as source, by their pyproject.toml.
builders() {
    python3 -c '
import pathlib, sys, tarfile, tomllib
for path in filter(pathlib.Path.exists, map(pathlib.Path, sys.argv[1:])):
    with tarfile.open(path) as archive:
        found = [member for member in archive if pathlib.Path(member.name).parts[1:] == ("pyproject.toml",)]
        text = archive.extractfile(found[0]).read().decode() if found else ""
    print(*tomllib.loads(text).get("build-system", {}).get("requires", []), sep="\n")
' "$@"
}

step=$1
shift
# shellcheck disable=SC2016,SC2086 # quoted for another shell; $offline is no option, or three words, as are lists of names
case $step in
uv)
    attempt "the package index" PIP_INDEX_URL python3 -m pip install --quiet --no-compile --root-user-action=ignore \
        --disable-pip-version-check $offline --require-hashes --requirement "$1"
    ;;
environment)
    attempt "the package index" PIP_INDEX_URL uv venv --quiet --python "$(command -v python3)" "$1"
    attempt "the package index" PIP_INDEX_URL uv pip sync --python "$1" $offline --require-hashes \
        --build-constraints "$(dirname "$0")/build.lock" "$2" # what comes as source is built by locked tools too
    rm -f "$1/.lock" # uv leaves it writable for everybody
    leave_out "$1"
    compile "$1"
    [ -z "${3:-}" ] || set_apart "$1" "$3"
    ;;
system)
    mkdir -p /usr/share/man/man1 # slim images lack it, and Java's package fails without
    use_mirrors
    attempt "the distribution's mirror" DEBIAN_MIRROR apt-get install -qq -o Acquire::Retries=3 --no-install-recommends \
        "$@" ${DEBIAN_PACKAGES:-}
    moved=
    for pin in ${DEBIAN_PINS:-}; do # apt takes another version where the pinned one is gone
        # shellcheck disable=SC2016 # dpkg's own variable
        now=$(dpkg-query --show --showformat '${Version}' "${pin%%=*}" 2>/dev/null) || continue
        [ "$now" = "${pin#*=}" ] || moved="$moved${moved:+; }${pin%%=*} ${pin#*=}, now $now"
    done
    if [ -n "$moved" ]; then
        reason="the distribution's mirror has moved on from compose.pins.yaml ($moved): 'make pin' takes what there is"
        [ -z "$offline" ] || reason="compose.pins.yaml is not the one of the bundle in lab/bundle ($moved): bring that back"
        echo "labdock: $reason." >&2
        exit 1
    fi
    [ ! -e /etc/ssl/certs/java/cacerts ] || date_certificates
    mv /tmp/sources "$sources"
    rm -rf /etc/apt/apt.conf.d/99-site-ca /etc/apt/preferences.d/99-pins /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
        /var/cache/ldconfig/aux-cache /var/cache/fontconfig/* /var/lib/dbus/machine-id /var/log/* /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
    compile "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
    # Whoever runs the lab has a name: at each start the entrypoint writes these two, on a tmpfs.
    for file in passwd group; do
        mv "/etc/$file" "/etc/$file.image"
        ln -s "/run/lab/$file" "/etc/$file"
    done
    ln -s /opt/labdock/ipython /etc/ipython
    # The engine makes /workspace, as root; git is to trust its history all the same.
    printf '[safe]\n\tdirectory = /workspace\n' >/etc/gitconfig
    # shellcheck disable=SC2016 # the shell that reads it expands it: those that the engine starts, make shell's, an editor's
    echo 'umask "${LAB_UMASK:-022}"' >>/etc/bash.bashrc
    install -d -m 1777 /var/lib/lab # a new volume takes this mode: every uid may make its own folder there
    ;;
wheels)
    mkdir -p "$1/wheels"
    # pip checks every hash where a lock holds some.
    for lock in build server requirements sbom; do
        download "$1/wheels" --no-deps --requirement "/build/$lock.lock"
    done
    [ -z "$offline" ] || cp /bundle/wheels/* "$1/wheels"
    ;;
more)
    # At the locked versions, so that `make add` changes none of them.
    versions /build/requirements.lock >/tmp/constraints
    set -f # "numpy==2.*" is no pattern for files
    if [ -n "$2" ]; then
        download "$1/wheels" --prefer-binary --constraint /tmp/constraints $2
    fi
    set +f
    builders "$1"/wheels/*.tar.gz >/tmp/builders
    versions /build/build.lock >/tmp/constraints
    download "$1/wheels" --prefer-binary --constraint /tmp/constraints --requirement /tmp/builders
    mkdir -p "$1/debs"
    cd "$1/debs"
    use_mirrors
    dpkg-query --show --showformat '${Package}:${Architecture}=${Version}\n' | sort >/tmp/base
    missing=$(printf '%s\n' $3 | sort | comm -23 - /tmp/base)
    attempt "the distribution's mirror" DEBIAN_MIRROR apt-get download -qq -o APT::Sandbox::User=root \
        -o Acquire::Retries=3 $missing
    # A repository that apt reads, so that a rebuild runs the same commands.
    for deb in *.deb; do
        [ -e "$deb" ] || continue
        name=$(echo "$deb" | sed 's/%3a/_/')
        [ "$name" = "$deb" ] || mv "$deb" "$name"
        dpkg-deb --field "$name"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$name" "$(stat -c %s "$name")" "$(sha256sum "$name" | cut -d ' ' -f 1)"
    done >Packages
    ;;
*)
    echo "build.sh: unknown step '$step'" >&2
    exit 2
    ;;
esac
rm -f "$log" "$log.status" "$log.pip"
