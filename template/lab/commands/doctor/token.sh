# Checks the token in its file, for `make doctor`.
# shellcheck shell=sh

# This finds no problem if the token does not exist yet, or if you cannot read it. The container checks the token at
# each start.
check_token() {
    [ ! -r secrets/jupyter_token ] || token_problem secrets/jupyter_token
}
