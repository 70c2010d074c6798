#!/bin/sh
# Run tests/ against the running lab, from an environment of their own (.venv-tests).
set -eu
. lab/tools/lib.sh

docker compose port lab 8888 >/dev/null 2>&1 || refuse "the lab is not running: start it with 'make up'."
command -v python3 >/dev/null || refuse "python3 is not found: the tests need Python 3.11 or later on this machine."
if ! cmp -s tests/requirements.lock .venv-tests/requirements.lock; then
    python3 -m venv --clear .venv-tests
    .venv-tests/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
    cp tests/requirements.lock .venv-tests/
fi
exec .venv-tests/bin/python -m pytest -p no:cacheprovider tests "$@"
