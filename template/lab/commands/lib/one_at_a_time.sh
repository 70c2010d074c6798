# Lets only one command at a time change this folder and its lab. Source this file before all.sh, so that the settings are read
# after the wait.
# shellcheck shell=sh

# alone NAME: wait until no other command holds the lock, then hold the lock until this script ends. If a script later sets its
# own EXIT trap, this trap must call `unlock`. The lock is the file .lab.lock, which contains "PID HOST COMMAND". macOS has no
# `flock`.
alone() {
    trap unlock EXIT
    trap 'exit 130' HUP INT TERM
    machine=$(uname -n)
    told=
    missing=0
    nameless=0
    holds=
    # With `set -C`, the shell creates the file or fails, even if two commands try this at once. On a full disk, the file stays
    # empty.
    until (set -C && { echo "$$ $machine $1" || true; } >.lab.lock) 2>/dev/null; do
        holder=$(cat .lab.lock 2>/dev/null) || holder=
        # This process already holds the lock (another script started this one with `exec`).
        case $holder in "$$ $machine "*) return 0 ;; esac
        if [ ! -e .lab.lock ]; then
            # Another command has just removed the lock, so try again. If this folder is read-only, continue without a lock.
            missing=$((missing + 1))
            [ "$missing" -lt 9 ] || return 0
            continue
        fi
        missing=0
        if [ -z "$holder" ] && [ "$nameless" -lt 9 ]; then
            # Another command is about to write its name.
            nameless=$((nameless + 1))
            continue
        fi
        nameless=0
        if ended "$holder" "$machine" && forget "$holder"; then continue; fi
        by=${holder#* }
        by="'make ${by#* }' (process ${holder%% *} on ${by%% *})"
        [ -n "$holder" ] || by="another command"
        if [ "$told" != "$by" ]; then
            told=$by
            echo "labdock: $by is changing this project, so this command waits. If this process no longer runs, press Ctrl-C and run 'rm -rf .lab.lock*'." >&2
        fi
        sleep 1
    done
    holds=yes
}

# ended HOLDER MACHINE: true if the process of HOLDER runs no more. For a process on another machine, the result is always
# false. A command that was killed before it could write its name left an empty file: no command needs a minute for this.
ended() {
    if [ -z "$1" ]; then
        [ "$(find .lab.lock -size 0 -mmin +1 2>/dev/null)" ]
        return
    fi
    case $1 in *" $2 "*) ;; *) return 1 ;; esac
    # `kill -0` fails for a process of another user too.
    ! kill -0 "${1%% *}" 2>/dev/null && ! ps -p "${1%% *}" >/dev/null 2>&1 && [ ! -d "/proc/${1%% *}" ]
}

# forget HOLDER: remove the lock if HOLDER still has it. The folder .lab.lock.old prevents that two commands do this at once. If
# it cannot be created, the function fails.
forget() {
    mkdir .lab.lock.old 2>/dev/null || return 1
    if holder=$(cat .lab.lock 2>/dev/null) && [ "$holder" = "$1" ]; then rm -f .lab.lock; fi
    rmdir .lab.lock.old
}

# unlock: remove the lock if this script has it.
unlock() {
    case $(cat .lab.lock 2>/dev/null) in
        "$$ $machine "*) rm -f .lab.lock ;;
        "") [ -z "$holds" ] || rm -f .lab.lock ;; # the disk was full
    esac
    holds=
}
