#!/bin/bash
# Checks that the server answers a request to /api. An open port or a line in the log is not enough.
set -eu
# shellcheck source=SCRIPTDIR/status.sh
. /opt/labdock/status.sh
[ "$(status /api)" = 200 ]
