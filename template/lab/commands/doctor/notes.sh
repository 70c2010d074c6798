# Prints the notes of `make doctor`: messages about results that need no fix.
# shellcheck shell=sh disable=SC2154 # find_lab sets lab, and doctor.sh sets engine_folder

print_notes() {
    echo "note  'copier check-update$(answers_file)' tells you if the template has a newer version."
    note_repositories
    note_env
    note_override
    note_engine
    note_cache
    note_read_only
    note_apart
    note_published
    # shellcheck disable=SC2154 # all.sh sets it
    for note in $more_notes; do
        $note
    done
    note_memory
}

# note_cache: print the size of the caches, if the lab runs.
note_cache() {
    size=$(docker exec "$lab" sh -c 'du -sh "/var/cache/lab/$(id -u)"' 2>/dev/null | cut -f 1)
    [ -z "$size" ] || echo "note  caches, temporary files and packages from 'pip install' take $size on the disk. To delete all caches, run 'docker compose exec lab find /run/lab/cache/ -mindepth 1 -delete'."
}

# note_repositories: list git repositories in the mounts. Code in the lab can create a repository. If you run git there
# on the host, git runs programs that the repository's configuration names. A repository is .git, or a folder with HEAD
# and with objects/ or commondir. macOS does not distinguish upper and lower case. notebooks/ comes first, because data/
# may contain too many files to search.
note_repositories() {
    find -H notebooks data -iname .git -print -prune -o -print 2>/dev/null | LC_ALL=C awk -v most=500000 '
        function note(path) {
            gsub(/[\001-\037\177]/, "?", path)
            print "note  " path " is a git repository that code in the lab can write. If you did not create this repository, run no git command in this folder, and delete the repository."
        }
        NR > most { exit }
        {
            name = folder = $0
            sub(/.*\//, "", name)
            name = tolower(name)
            sub(/\/[^\/]*$/, "", folder)
        }
        name == ".git" { note($0) }
        name == "head" { head[folder] }
        name == "objects" || name == "commondir" { rest[folder] }
        END {
            for (folder in head) if (folder in rest) note(folder)
            if (NR > most) print "note  notebooks/ and data/ contain more than " most " files. The search for git repositories stopped after this number of files. To search all files, run \047find -H notebooks data -name .git -o -name HEAD\047."
        }'
}

note_env() {
    if [ ! -f .env ]; then
        echo "note  there is no .env, so every setting has its default. To create one, run 'make env'."
        return
    fi
    env_lines | while read -r number name fault _; do
        [ "$fault" != comment ] ||
            echo "note  line $number of .env: Compose reads the text after ' #' in $name as a comment. If this text belongs to the value, write $name='VALUE' with single quotes."
    done
    missing=$(sed -n 's/^\([A-Z_]*\)=.*/\1/p' sample.env | while read -r name; do
        env_lines | grep -qE " $name( |\$)" || printf ' %s' "$name"
    done)
    [ -z "$missing" ] || echo "note  .env has no line for$missing. The defaults in sample.env apply. You need to change nothing."
}

# note_override: Compose warns of each variable that is not set. The warning contains the name, which may be part of a password.
note_override() {
    docker compose config --quiet 2>&1 | sed -n 's/.*The \\*"\([A-Za-z0-9_]*\)\\*" variable is not set.*/\1/p' | sort -u |
        while read -r variable; do
            grep -nsE "[$][{]?$variable" compose.override.yaml | cut -d : -f 1 | while read -r number; do
                echo "note  line $number of compose.override.yaml: Compose reads a '\$' as the start of a variable's name. This variable is not set, so the value loses a part. If you mean the character '\$', write '\$\$'."
            done
        done
}

note_engine() {
    [ -z "$engine_folder" ] || [ -n "$(free_space "$engine_folder")" ] ||
        echo "note  the engine keeps its images on another machine or disk ($engine_folder). To see their size, run 'docker system df'."
    [ "$(engine_kind)" != docker ] || return 0
    case $(docker info --format '{{.CgroupVersion}}:{{.CgroupDriver}}') in
    1:* | *:none) echo "note  the limits for memory, CPUs and processes have no effect. For these limits, an engine without root needs a machine with cgroups v2 and systemd." ;;
    esac
    profile=$(pwd -P)/lab/runtime/seccomp.json
    if [ "$(engine_kind)" = podman ] && [ "$(podman info --format '{{.Host.Security.SECCOMPProfilePath}}')" != "$profile" ]; then
        echo "note  Podman uses its own seccomp profile for the lab. To use the lab's profile, put seccomp_profile = \"$profile\" under [containers] in ~/.config/containers/containers.conf, then restart podman.socket."
    fi
}

note_memory() {
    ended=$(ended_by_memory)
    [ "${ended:-0}" = 0 ] ||
        echo "note  memory was full: since the lab started, Linux ended $ended of the lab's programs. LAB_MEMORY is '$(setting LAB_MEMORY)'. Load less data at once, or set LAB_MEMORY to more in .env and run 'make up'."
}
