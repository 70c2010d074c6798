#!/bin/sh
# Prints the lab's address, the path of its token, and on a terminal a link that logs in (only with --link).
set -eu
. lab/commands/lib/all.sh
. lab/commands/lib/print_address.sh

require_running
print_address "$@"
