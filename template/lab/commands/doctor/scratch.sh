# Checks that LAB_SCRATCH is less than a third of LAB_MEMORY, for `make doctor`. Prints a problem and its fix, or nothing.
# shellcheck shell=sh

# Files in /tmp and home count as memory. Even if both folders are full, the server and a kernel still need memory.
check_scratch() {
    scratch=$(bytes "$(setting LAB_SCRATCH)")
    memory=$(bytes "$(setting LAB_MEMORY)")
    [ "$scratch" -gt 0 ] && [ "$memory" -gt 0 ] || return 0 # check_limits reports it
    [ "$((3 * scratch))" -lt "$memory" ] ||
        echo "LAB_SCRATCH is '$(setting LAB_SCRATCH)' and LAB_MEMORY is '$(setting LAB_MEMORY)'. LAB_SCRATCH must be less than a third of LAB_MEMORY. In .env, change one of the two settings."
}
