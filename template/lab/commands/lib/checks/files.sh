# Checks the project's files. Each check prints a problem and its fix, or nothing.
# shellcheck shell=sh

# Find conflicts that `copier update` left. You must resolve these conflicts. Do not search data/ and notebooks/, because these
# folders may be large.
check_merged() {
    find . .devcontainer .github lab tests -type d \( -path './*' -o -path lab/bundle \) -prune -o -type f \
        \( -name '*.rej' -print -o -exec grep -ls '^<<<<<<< ' {} + \) 2>/dev/null | while read -r file; do
        file=${file#./}
        case $file in
        *.rej) echo "$file contains a change that the update could not make in ${file%.rej}. Make this change by hand in ${file%.rej}, then run 'rm $file'." ;;
        *) echo "$file has a conflict between '<<<<<<<' and '>>>>>>>'. Keep the correct lines, delete these marks, then run 'git add $file'." ;;
        esac
    done
    git diff --name-only --relative --diff-filter=U 2>/dev/null | while read -r file; do
        grep -qs '^<<<<<<< ' "$file" || echo "$file is unmerged in git. Check the file, then run 'git add $file'."
    done
}

# check_path: the engine mounts no path with a colon. A build reads no path with a comma or a double quote, and Compose reads
# % as the start of a code.
check_path() {
    bad='[:,"]|%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)'
    ! pwd | grep -qE "$bad" ||
        echo "this folder is '$(pwd)', and the engine cannot use a path with ':', ',', '\"' or '%'. Move the project to a folder without these characters in its path."
    for name in LAB_CA_BUNDLE LAB_GIT; do
        ! setting "$name" | grep -qE "$bad" ||
            echo "$name is '$(setting "$name")', and the engine cannot use a path with ':', ',', '\"' or '%'. In .env, set it to a path without these characters."
    done
}

check_folders() {
    # shellcheck disable=SC2154 # all.sh sets it
    for folder in $written; do
        [ ! -d "$folder" ] || continue
        if [ -L "$folder" ]; then
            echo "$folder is a link to '$(readlink "$folder")', which is not a folder. Mount the disk that contains this folder, or run 'rm $folder' and make a new link."
        else
            echo "$folder/ is missing. Run 'mkdir $folder'."
        fi
    done
}

# Find packages that the lab needs in the user's environment. An update never changes requirements.lock. So this lock may lack
# packages that a new release needs. Each line of required-packages.txt has a name (or a grep pattern) to search in the lock. A
# second word gives the requirement if it differs from the name.
check_packages() {
    missing=$(while read -r name requirement; do
        grep -qsE "^$name(==| @ )" requirements.lock || echo "${requirement:-$name}"
    done <lab/locks/required-packages.txt | uniq | tr '\n' ' ')
    missing=${missing% }
    [ -z "$missing" ] ||
        echo "requirements.lock lacks $missing, which the lab needs. Run 'make add PKG=\"$missing\"'."
}

# The lock of the server's extensions repeats versions of the server's own lock. An update changes only the server's lock.
check_extensions() {
    extensions=lab/locks/server-extensions.lock
    [ -f "$extensions" ] || return 0
    awk -v extensions="$extensions" '
        !/^[A-Za-z0-9]/ { next }
        { split($1, part, "==") }
        FILENAME != extensions { versions[part[1]] = versions[part[1]] " " part[2]; pinned[$1] }
        FILENAME == extensions && part[1] in versions && !($1 in pinned) {
            print "lab/locks/server-extensions.lock does not fit the server: it has " part[1] " " part[2] ", but the server has" versions[part[1]] ". Run \047make extend\047."
            exit
        }' lab/locks/server.lock "$extensions"
}

# Compare pyproject.toml with the lock. This runs in the lab's image, because your machine may have no Python.
check_list() {
    docker image inspect "$(image lab)" >/dev/null 2>&1 || return 0
    COPYFILE_DISABLE=1 tar -cf - pyproject.toml requirements.lock 2>/dev/null |
        docker run --rm --interactive --network none --entrypoint /opt/jupyter/bin/python "$(image lab)" \
            -I -c "$(cat lab/build/compare_list.py)" 2>/dev/null || true # this may fail in an image of an earlier release
}

# Print problems that only Compose finds, such as an .env that cannot be read, a wrong address, or an error in
# compose.override.yaml.
check_config() {
    ! error=$(docker compose config --quiet 2>&1) || return 0
    error=$(printf '%s\n' "$error" | tail -n 1)
    case $error in "failed to read "*) error=${error%%'"'*} ;; esac # the rest is a value of .env, which may be a password
    echo "Compose prints '$error'. Fix .env or compose.override.yaml."
}
