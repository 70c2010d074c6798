#!/bin/sh
# One line for each thing that can be wrong: ok, or the command that mends it. Fails if anything is.
set -eu
. lab/tools/lib.sh

if ! docker compose version >/dev/null 2>&1; then
    echo "MEND  $(check_engine)" # without Compose nothing else can be read
    exit 1
fi

# shellcheck disable=SC2012,SC2329 # three known names; called by the loop below
# Docker Desktop (macOS) gives every file to the lab's user, whoever owns it here.
check_mounts() {
    uid=$(setting LAB_UID 1000)
    gid=$(setting LAB_GID 1000)
    if [ "$uid" = 0 ] && [ "$(engine_kind)" = rootless ]; then
        uid=$(id -u) gid=$(id -g) # what uid 0 is in there
    fi
    for folder in data notebooks secrets; do
        [ -d "$folder" ] && [ "$(uname)" != Darwin ] || continue
        # Columns of ls: mode, links, uid, gid. The letters that count are the owner's, the group's or the others' "rwx".
        ls -ldn "$folder" | awk -v uid="$uid" -v gid="$gid" -v folder="$folder" '
            substr($1, 9, 1) == "w" { print "everybody on this machine can write " folder "/: run '\''chmod o-w " folder "'\''."; exit }
            substr($1, $3 == uid ? 2 : $4 == gid ? 5 : 8, 3) ~ /^rw[xs]$/ { exit }
            $3 == uid { print "the lab cannot write " folder "/: run '\''chmod u+rwx " folder "'\''."; exit }
            { print folder "/ belongs to " $3 ":" $4 ", the lab runs as " uid ":" gid \
                ": run '\''sudo chown -R " uid ":" gid " " folder "'\''." }'
    done
}

# What lies in scratch space counts as memory: full, it must leave room for the server.
# shellcheck disable=SC2329
check_scratch() {
    echo "$(setting LAB_MEMORY 4g) $(setting LAB_SCRATCH 1g)" | awk '
        function bytes(size, unit) {
            unit = tolower(size)
            gsub(/[0-9.]|b$/, "", unit)
            return size * (unit == "g" ? 2 ^ 30 : unit == "m" ? 2 ^ 20 : unit == "k" ? 1024 : 1)
        }
        3 * bytes($2) >= bytes($1) {
            print "three folders of LAB_SCRATCH, \047" $2 "\047, fill LAB_MEMORY, \047" $1 "\047: put less than a third of it into .env."
        }'
}

# shellcheck disable=SC2329
check_env_file() {
    [ -f .env ] || return 0
    name=$(setting LAB_NAME '')
    slug=$(sed -n 's/^LAB_NAME=//p' sample.env)
    if matches "$name" "$slug-[0-9a-f]{6}" && [ "$name" != "$slug-$(printf %06x $(($(checkout_number) % 16777216)))" ]; then
        echo "LAB_NAME is '$name', made for another folder: this .env is a copy; delete it and run 'make env'."
    fi
    sed -n 's/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\)[[:space:]]*=.*/\1/p' .env | sort -u | while read -r name; do
        case $name in COMPOSE_* | DOCKER_* | BUILDKIT_*) continue ;; esac
        grep -q "^$name=" sample.env || grep -qs "[$]{*$name" compose.override.yaml ||
            echo "$name in .env is no setting of this lab, nor used in compose.override.yaml: see sample.env."
    done
}

# shellcheck disable=SC2329
check_token() {
    [ -r secrets/jupyter_token ] || return 0 # not made yet, or another user's: the lab itself will say
    mark=$(printf '\357\273\277')
    length=$(LC_ALL=C sed "1s/^$mark//" secrets/jupyter_token | tr -d '[:space:]' | wc -c | tr -d ' ')
    [ "$length" -ge 32 ] ||
        echo "secrets/jupyter_token holds $length characters, 32 are needed: delete it, and the next start makes a new one."
}

# A restart would end the kernels and what they have not saved, so nothing but its user restarts a lab.
# shellcheck disable=SC2329
check_lab() {
    [ "$(docker compose ps --format '{{.Health}}' lab 2>/dev/null)" = unhealthy ] || return 0
    reason=$(docker compose logs --no-log-prefix --tail 1 lab 2>/dev/null | sed -n 's/^labdock: //p')
    if [ -n "$reason" ]; then
        echo "the lab refused to start: $reason Then run 'make up'."
    else
        echo "the lab runs but does not answer: wait for what its kernels may still save, then run 'docker compose restart lab'."
    fi
}

# What this engine cannot do, and the lab runs without; and what the host would obey. No fault of the settings.
notes() {
    # Code in the lab can make a repository, and git obeys its settings, which may name programs.
    find data notebooks -name .git 2>/dev/null | sed 's/.*/note  & can be written in the lab: if you did not make it, run no git in that folder, and delete it./'
    kind=$(engine_kind)
    [ "$kind" != docker ] || return 0
    case $(docker info --format '{{.CgroupVersion}}:{{.CgroupDriver}}') in
    1:* | *:none) echo "note  the limits of memory, processors and processes do not hold: an engine without root needs cgroups v2 and systemd." ;;
    esac
    if [ "$kind" = podman ] && [ "$(podman info --format '{{.Host.Security.SECCOMPProfilePath}}')" != "$(pwd -P)/lab/seccomp.json" ]; then
        echo "note  Podman holds the lab to its own seccomp profile: for the lab's, put seccomp_profile = \"$(pwd -P)/lab/seccomp.json\" under [containers] in ~/.config/containers/containers.conf and restart podman.socket."
    fi
}

engine=$(engine_kind)
status=0
while read -r check what; do
    problem=$($check)
    if [ -z "$problem" ]; then
        echo "ok    $what"
    else
        printf '%s\n' "$problem" | sed 's/^/MEND  /'
        status=1
    fi
done <<'CHECKS'
check_merged no update waits for a decision of yours
check_engine engine, Compose and buildx are recent enough
check_compose_file the files for Compose suit the engine
check_ids LAB_UID and LAB_GID are usable
check_username JUPYTER_USERNAME is usable
check_umask LAB_UMASK is usable
check_port JUPYTER_PORT is usable
check_ui JUPYTER_UI is usable
check_limits memory, processor and process limits are usable
check_scratch scratch space leaves room in memory
check_ca the CA bundle can be read
check_git history can be read in the lab, or is left out
check_folders data/, notebooks/ and secrets/ are there
check_mounts data/, notebooks/ and secrets/ can be written by the lab
check_packages requirements.lock holds what the lab needs
check_env_file .env belongs to this folder and holds known settings only
check_config Compose accepts the whole
check_token the token is long enough
check_lab the lab answers, if it runs
CHECKS
notes
exit $status
