# Checks the project's files. Each check prints a problem and its fix, or nothing.
# shellcheck shell=sh

# Conflicts that `copier update` left, for you to resolve. data/ and notebooks/ may be large and are not searched.
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

check_folders() {
    for folder in data notebooks secrets; do
        [ -d "$folder" ] || echo "$folder/ is missing. Run 'mkdir $folder'."
    done
}

# Packages that the lab needs in the user's environment. An update never changes requirements.lock, so it may lack them.
# A line of required-packages.txt: the name in the lock, or a pattern of grep for it, and the requirement if that differs.
check_packages() {
    missing=$(while read -r name requirement; do
        grep -qs "^$name==" requirements.lock || echo "${requirement:-$name}"
    done <lab/locks/required-packages.txt | uniq | tr '\n' ' ')
    missing=${missing% }
    [ -z "$missing" ] ||
        echo "requirements.lock lacks $missing, which the lab needs. Run 'make add PKG=\"$missing\"'."
}

# Problems that only Compose finds: an .env that cannot be read, a wrong address, an error in compose.override.yaml.
check_config() {
    error=$(docker compose config --quiet 2>&1) ||
        echo "Compose prints '$(printf '%s\n' "$error" | tail -n 1)'. Fix .env or compose.override.yaml."
}
