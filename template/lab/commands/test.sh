#!/bin/sh
# Runs tests/ against the running lab, with the Python environment .venv-tests.
set -eu
. lab/commands/lib/one_at_a_time.sh
alone test
. lab/commands/lib/all.sh

require_running
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    refuse "python3 is not found. Install Python 3.11 or later on this machine."
case $version in 3.[0-9] | 3.10) refuse "python3 is $version. Install Python 3.11 or later on this machine." ;; esac

# The environment contains a copy of the lock from which its packages were installed.
if ! cmp -s tests/requirements.lock .venv-tests/requirements.lock; then
    python3 -m venv --clear .venv-tests ||
        refuse "python3 cannot create a virtual environment. On Debian and Ubuntu, run 'sudo apt install python3-venv'."
    index=$(setting PIP_INDEX_URL | cut -d ' ' -f 1)
    ca=$(setting LAB_CA_BUNDLE)
    [ -z "$index" ] || export PIP_INDEX_URL="$index"
    [ -z "$ca" ] || export PIP_CERT="$ca"
    offline=
    for name in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        value=$(setting "$name")
        [ -z "$value" ] || export "$name=$value"
    done
    lacking="pip cannot install tests/requirements.lock (see the lines above). Check PIP_INDEX_URL, LAB_CA_BUNDLE and HTTPS_PROXY in .env."
    if [ -e lab/bundle/SHA256SUMS ]; then
        offline="--no-index --find-links lab/bundle/wheels"
        lacking="lab/bundle lacks packages of tests/requirements.lock. Make a new bundle on a machine with a network."
    fi
    # shellcheck disable=SC2086 # no option, or three words
    .venv-tests/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes $offline \
        -r tests/requirements.lock || refuse "$lacking"
    cp tests/requirements.lock .venv-tests/
fi
unlock # the tests do not change the project
# shellcheck disable=SC2086 # no word, or one
exec env $more_for_tests .venv-tests/bin/python -m pytest -p no:cacheprovider tests "$@"
