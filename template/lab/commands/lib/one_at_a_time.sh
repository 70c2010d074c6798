# Lets only one command at a time change this folder and its lab. Source it before all.sh, so that the settings are read after the wait.
# shellcheck shell=sh

# alone NAME: wait until no other command holds the lock, then hold it until this script ends. A script that sets a trap
# for EXIT later calls `unlock` in it. The lock is the file .lab.lock with "PID HOST COMMAND": macOS has no `flock`.
alone() {
    trap unlock EXIT
    trap 'exit 130' HUP INT TERM
    machine=$(uname -n)
    told=
    missing=0
    # With `set -C`, the shell creates the file or fails, even if two commands do so at once.
    until (set -C && : >.lab.lock) 2>/dev/null; do
        holder=$(cat .lab.lock 2>/dev/null) || holder=
        case $holder in "$$ $machine "*) return 0 ;; esac # `exec` made this script from the one that holds the lock
        if [ ! -e .lab.lock ]; then
            # It was just released. Or this folder cannot be written: then the command goes on without a lock.
            missing=$((missing + 1))
            [ "$missing" -lt 9 ] || return 0
            continue
        fi
        missing=0
        if ended "$holder" "$machine" && forget "$holder"; then continue; fi
        if [ -n "$holder" ] && [ "$told" != "$holder" ]; then
            told=$holder
            said=${holder#* }
            echo "labdock: 'make ${said#* }' (process ${holder%% *} on ${said%% *}) is changing this project, so this command waits. If this process no longer runs, press Ctrl-C and run 'rm -rf .lab.lock*'." >&2
        fi
        sleep 1
        # A command that ended before it could write its name leaves an empty file.
        if [ -z "$holder" ] && ! forget "" && [ -z "$told" ]; then
            told=unknown
            echo "labdock: the file .lab.lock cannot be removed, so this command waits. If no other command runs, press Ctrl-C and run 'rm -rf .lab.lock*'." >&2
        fi
    done
    echo "$$ $machine $1" >.lab.lock || true # on a full disk, the file stays empty
}

# ended HOLDER MACHINE: true if the process of HOLDER runs no more. It is not known if HOLDER is on another machine.
ended() {
    case $1 in *" $2 "*) ;; *) return 1 ;; esac
    # `kill -0` fails for a process of another user too.
    ! kill -0 "${1%% *}" 2>/dev/null && ! ps -p "${1%% *}" >/dev/null 2>&1 && [ ! -d "/proc/${1%% *}" ]
}

# forget HOLDER: remove the lock if HOLDER still has it. The folder keeps others from doing so at the same time. Fails if the
# folder cannot be made.
forget() {
    mkdir .lab.lock.old 2>/dev/null || return 1
    if holder=$(cat .lab.lock 2>/dev/null) && [ "$holder" = "$1" ]; then rm -f .lab.lock; fi
    rmdir .lab.lock.old
}

# unlock: remove the lock if this script has it.
unlock() {
    case $(cat .lab.lock 2>/dev/null) in "$$ $machine "*) rm -f .lab.lock ;; esac
}
