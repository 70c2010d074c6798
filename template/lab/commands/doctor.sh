#!/bin/sh
# One line for each thing that can be wrong: ok, or the command that mends it. Fails if anything is.
# shellcheck disable=SC2034,SC2329 # lib.sh reads `engine`; the loop at the end calls the checks
set -eu
. lab/commands/lib/all.sh

if ! docker compose version >/dev/null 2>&1; then
    echo "MEND  $(check_engine)" # without Compose nothing else can be read
    exit 1
fi

# shellcheck disable=SC2012 # three known names
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

# into_env LINE: the command that adds it to .env, of which the last line of a name counts.
into_env() {
    if [ -n "$(tail -c 1 .env 2>/dev/null)" ]; then
        echo "run '(echo; echo $1) >>.env'" # the last line has no end
    else
        echo "run 'echo $1 >>.env'"
    fi
}

# env_lines: number and name of each line of .env that sets something; number, "?" and first word of one that cannot.
env_lines() {
    LC_ALL=C awk '
        NR == 1 { sub(/^\357\273\277/, "") }
        { sub(/\r$/, "") }
        open != "" { if (index($0, open)) open = ""; next } # within a quoted value of several lines
        /^[ \t]*(#|$)/ { next }
        !/^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_.-]*[ \t]*[=:]/ { print NR, "?", $1; next }
        {
            sub(/^[ \t]*(export[ \t]+)?/, "")
            name = value = $0
            sub(/[ \t]*[=:].*/, "", name)
            sub(/^[^=:]*[=:][ \t]*/, "", value)
            print NR, name
            quote = substr(value, 1, 1)
            if ((quote == "\"" || quote == "\047") && !index(substr(value, 2), quote)) open = quote
        }' .env
}

check_env_file() {
    [ -f .env ] || return 0
    name=$(setting LAB_NAME '')
    slug=$(sed -n 's/^LAB_NAME=//p' sample.env)
    own=$slug-$(printf %06x $(($(checkout_number) % 16777216)))
    if matches "$name" "$slug-[0-9a-f]{6}" && [ "$name" != "$own" ]; then
        echo "LAB_NAME is '$name', made for another folder, of which this .env is a copy: $(into_env "LAB_NAME=$own")."
    fi
    env_lines | while read -r number name word; do
        case $name in
        COMPOSE_* | DOCKER_* | BUILDKIT_*) continue ;;
        '?') fault="line $number of .env, '$word ...', is not NAME=VALUE" ;; # its rest might be a password
        *)
            if grep -q "^$name=" sample.env || grep -qs "[$]{*$name" compose.override.yaml; then continue; fi
            fault="$name in .env is no setting of this lab, nor used in compose.override.yaml"
            ;;
        esac
        echo "$fault: mend it as in sample.env, or run 'sed -i.bak \"${number}s/^/# /\" .env'."
    done
}

# listeners: address and port of whatever waits for connections here, as Linux (in hexadecimal) or netstat writes them.
listeners() {
    if [ -r /proc/net/tcp ]; then
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { print $2 }'
    else
        netstat -an -p tcp 2>/dev/null | awk '$NF == "LISTEN" { print $4 }'
    fi
}

check_port_free() {
    port=$(setting JUPYTER_PORT 8888)
    bind=$(setting JUPYTER_BIND 127.0.0.1)
    whole_number "$port" 1 65535 || return 0
    case $(docker compose port lab 8888 2>/dev/null) in *":$port") return ;; esac # by this lab
    case $bind in
    0.0.0.0 | *[!0-9.]*) hex='.*' bind='.*' ;; # every address clashes
    *) hex="[0F]*$(echo "$bind" | awk -F . '{ printf "%02X%02X%02X%02X", $4, $3, $2, $1 }')" ;;
    esac
    listeners | grep -qE "^((0+|$hex):$(printf %04X "$port")|([*]|$bind)[.]$port)\$" || return 0
    name=$(docker ps --filter "publish=$port" --format '{{.Names}}' | head -n 1)
    echo "port $port is taken by ${name:-another program}: $(into_env JUPYTER_PORT=0), which takes any free one, or put another into .env."
}

# room FOLDER: free gigabytes of its file system, or nothing where it is not on this machine (Docker Desktop, DOCKER_HOST).
room() {
    df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print int($4 / 2 ^ 20) }'
}

# A build takes about four times its image: layers of the stages, the image, the cache of packages.
check_disk() {
    needed=5
    if grep -qs '^nvidia-' requirements.lock; then
        needed=30
    elif grep -qsE '^(torch|tensorflow|pyspark)==' requirements.lock; then
        needed=10
    fi
    free=$(room "$engine_folder")
    [ "${free:-$needed}" -ge "$needed" ] ||
        echo "$free GB are free where the engine keeps its images ($engine_folder), and a build takes up to $needed: run 'docker builder prune' or 'docker image prune --all'."
    free=$(room .)
    [ "${free:-1}" -ge 1 ] ||
        echo "less than 1 GB is free for data/ and notebooks/: 'du -ah . | sort -rh | head' shows what takes most; move some of it away."
}

# certificates: of LAB_CA_BUNDLE, a line "expired SUBJECT" or "valid SUBJECT" for each; nothing where openssl is missing.
certificates() {
    { openssl crl2pkcs7 -nocrl -certfile "$bundle" | openssl pkcs7 -print_certs -text -noout; } 2>/dev/null |
        awk -v now="$(date -u +%Y%m%d%H%M%S)" '
            / Not After *:/ {
                sub(/.*Not After *: */, "")
                gsub(/:/, "")
                ends = sprintf("%d%02d%02d%06d", $4, (index("JanFebMarAprMayJunJulAugSepOctNovDec", $1) + 2) / 3, $2, $3)
            }
            / Subject:/ { sub(/.*Subject: */, ""); print ends < now "" ? "expired" : "valid", $0 }'
}

check_certificates() {
    { [ -f "$bundle" ] && [ -r "$bundle" ]; } || return 0 # none, or check_ca says so
    if ! grep -qE '^-----BEGIN (TRUSTED )?CERTIFICATE-----' "$bundle"; then
        echo "LAB_CA_BUNDLE is '$bundle', which holds no certificate in PEM form: if it is in DER form, run 'openssl x509 -inform der -in $bundle -out $bundle.pem', and name that file in .env."
    elif command -v openssl >/dev/null; then
        case $certificates in
        '') echo "LAB_CA_BUNDLE is '$bundle', and a certificate in it is damaged: get the file anew from your site." ;;
        *valid\ *) ;;
        *) echo "LAB_CA_BUNDLE is '$bundle', which holds expired certificates only: get the new ones from your site." ;;
        esac
    fi
}

check_token() {
    if [ -d secrets/jupyter_token ]; then
        echo "secrets/jupyter_token is a folder: run 'rm -r secrets/jupyter_token', and the next start makes a new one."
        return
    fi
    [ -r secrets/jupyter_token ] || return 0 # not made yet, or another user's: the lab itself will say
    mark=$(printf '\357\273\277')
    length=$(LC_ALL=C sed "1s/^$mark//" secrets/jupyter_token | tr -d '[:space:]' | wc -c | tr -d ' ')
    [ "$length" -ge 32 ] ||
        echo "secrets/jupyter_token holds $length characters, 32 are needed: run 'rm secrets/jupyter_token', and the next start makes a new one."
}

# The lab itself is asked, for the engine takes half a minute to notice that it is frozen, and never does where it is
# paused. A restart would end the kernels and what they have not saved, so nothing but its user restarts a lab.
check_lab() {
    state=$(docker compose ps --all --format '{{.State}} {{.Health}}' lab 2>/dev/null)
    case $state in
    paused*) echo "the lab is paused: run 'docker compose unpause lab'." && return ;;
    restarting*) echo "the lab ends again and again: 'make logs' says why." && return ;;
    running\ starting | created* | exited* | '') return 0 ;;
    esac
    docker compose exec --no-TTY lab timeout 5 bash /opt/labdock/healthcheck.sh >/dev/null 2>&1 && return
    reason=$(docker compose logs --no-log-prefix --tail 1 lab 2>/dev/null | sed -n 's/^labdock: //p')
    if [ -n "$reason" ]; then
        echo "the lab refused to start: $reason Then run 'make up'."
    else
        echo "the lab runs but does not answer: wait for what its kernels may still save, then run 'docker compose restart lab'."
    fi
}

# repositories: what git takes for one: .git, or HEAD beside objects/ or commondir; letters of any size, as macOS has it.
# Code in the lab can make one, and git obeys its settings, which may name programs. notebooks/ comes first, since data/
# may hold millions of files, of which not all are looked at.
repositories() {
    find notebooks data -iname .git -print -prune -o -print 2>/dev/null | LC_ALL=C awk -v most=500000 '
        function tell(path) {
            gsub(/[\001-\037\177]/, "?", path)
            print "note  " path " can be written in the lab: if you did not make it, run no git in that folder, and delete it."
        }
        NR > most { exit }
        { name = folder = $0; sub(/.*\//, "", name); name = tolower(name); sub(/\/[^\/]*$/, "", folder) }
        name == ".git" { tell($0) }
        name == "head" { head[folder] }
        name == "objects" || name == "commondir" { rest[folder] }
        END {
            for (folder in head) if (folder in rest) tell(folder)
            if (NR > most) print "note  notebooks/ and data/ hold more than " most " files, and only those were searched for what git would obey: \047find notebooks data -name .git -o -name HEAD\047 searches all."
        }'
}

# What is no fault of the settings: defaults that hold, what the host would obey, what cannot be seen from here, what
# this engine cannot do.
notes() {
    repositories
    if [ ! -f .env ]; then
        echo "note  there is no .env, and every default holds: 'make env' writes one."
    else
        missing=$(sed -n 's/^\([A-Z_]*\)=.*/\1/p' sample.env | while read -r name; do
            env_lines | grep -q " $name\$" || printf ' %s' "$name"
        done)
        [ -z "$missing" ] || echo "note  .env has no line for$missing: the defaults in sample.env hold."
    fi
    [ -z "$engine_folder" ] || [ -n "$(room "$engine_folder")" ] ||
        echo "note  the engine keeps its images elsewhere ($engine_folder): 'docker system df' says how much they take."
    case $certificates in *expired\ *valid\ * | *valid\ *expired\ *)
        echo "note  $(printf '%s\n' "$certificates" | grep -c '^expired') certificates in LAB_CA_BUNDLE have expired: $(printf '%s\n' "$certificates" | sed -n 's/^expired //p' | head -n 3 | paste -sd ';' -)"
        ;;
    esac
    kind=$(engine_kind)
    [ "$kind" != docker ] || return 0
    case $(docker info --format '{{.CgroupVersion}}:{{.CgroupDriver}}') in
    1:* | *:none) echo "note  the limits of memory, processors and processes do not hold: an engine without root needs cgroups v2 and systemd." ;;
    esac
    if [ "$kind" = podman ] && [ "$(podman info --format '{{.Host.Security.SECCOMPProfilePath}}')" != "$(pwd -P)/lab/runtime/seccomp.json" ]; then
        echo "note  Podman holds the lab to its own seccomp profile: for the lab's, put seccomp_profile = \"$(pwd -P)/lab/runtime/seccomp.json\" under [containers] in ~/.config/containers/containers.conf and restart podman.socket."
    fi
}

# report CHECK WORDS: what it found, or that the words hold.
status=0
report() {
    problem=$($1)
    if [ -z "$problem" ]; then
        echo "ok    $2"
        return
    fi
    status=1
    printf '%s\n' "$problem" | while read -r line; do
        case $line in *": mend it in .env." | *": put lab or notebook into .env.") # one setting, named first, which has a default
            line="${line%.}, or $(into_env "$(grep "^${line%% *}=" sample.env)")."
            ;;
        esac
        echo "MEND  $line"
    done
}

if [ -z "$settings" ]; then # Compose cannot read .env: what it sets is not known
    report check_env_file
    report check_config
    exit 1
fi
engine=$(engine_kind)
engine_folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || true)
bundle=$(setting LAB_CA_BUNDLE '')
certificates=$(certificates)
while read -r check what; do
    report "$check" "$what"
done <<'CHECKS'
check_merged no update waits for a decision of yours
check_engine engine, Compose and buildx are recent enough
check_compose_file the files for Compose suit the engine
check_ids LAB_UID and LAB_GID are usable
check_username JUPYTER_USERNAME is usable
check_umask LAB_UMASK is usable
check_port JUPYTER_PORT is usable
check_port_free no other program has the port
check_ui JUPYTER_UI is usable
check_limits memory, processor and process limits are usable
check_scratch scratch space leaves room in memory
check_index the package index has an address
check_ca the CA bundle can be read
check_certificates its certificates are sound
check_git history can be read in the lab, or is left out
check_disk the disk has room
check_folders data/, notebooks/ and secrets/ are there
check_mounts data/, notebooks/ and secrets/ can be written by the lab
check_packages requirements.lock holds what the lab needs
check_env_file .env belongs to this folder and holds known settings only
check_config Compose accepts the whole
check_token the token is long enough
check_lab the lab answers, if it runs
CHECKS
sh lab/commands/newest.sh
notes
exit $status
