# Runs a command and shows its output.
# shellcheck shell=sh

# show LOG COMMAND...: run the command and write its output to LOG. On a terminal, print each line at once. In a pipe,
# print the output only if the command fails.
show() {
    log=$1
    shift
    rm -f "$log.failed"
    if [ -t 2 ]; then
        # POSIX sh has no pipefail, so a file shows that the command failed.
        { "$@" 2>&1 || touch "$log.failed"; } | tee "$log" >&2
        [ ! -e "$log.failed" ]
    elif ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}
