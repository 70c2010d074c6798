# Checks the token in its file, for `make doctor`.
# shellcheck shell=sh

# A token that is not made yet, or that only the lab's user can read, is the container's to check.
check_token() {
    [ ! -r secrets/jupyter_token ] || token_problem secrets/jupyter_token
}
