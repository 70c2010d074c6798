# Copies the project's files for `make bundle`. If data/ or notebooks/ is a link, it copies the files in the linked folder.
# shellcheck shell=sh

# copy_project FOLDER WORK: copy the files into FOLDER, with data/ if WITH_DATA is yes. WORK is a folder for temporary files.
copy_project() {
    project_files >"$2/found"
    xargs -0 -n 500 sh lab/commands/lib/copy_files.sh "$1" <"$2/found"
    links_without_files "$1" >"$2/links"
    while IFS= read -r link; do
        echo "labdock: ${link#./} is a link, and the bundle contains only the link. If the other machine needs the linked files, replace the link with a copy of the file or folder, then run 'make bundle' again." >&2
    done <"$2/links"
}

# project_files: list the files to copy. In a git repository, these are all files that git does not ignore. Otherwise, these are
# all files except those excluded below. git and find do not follow links. With -H, find follows a link that is named on its
# command line.
project_files() {
    if [ -e .git ] || git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . \( -name .git -o -name __pycache__ -o -name .ipynb_checkpoints -o -path './.venv*' -o -path ./.bundle.new \
            -o -path ./data -o -path './*-bundle.tar*' -o -name .DS_Store -o -path ./.sbom.new -o -path './.lab.lock*' \
            -o -path './*/log/*.jsonl' -o -path ./sbom.cdx.json -o -path ./provenance.json \) -prune -o ! -type d -print0
    fi
    [ ! -L notebooks ] || find -H notebooks \( -name .git -o -name '.env*' -o -name __pycache__ -o -name .ipynb_checkpoints \) \
        -prune -o ! -type d -print0
    [ "${WITH_DATA:-}" != yes ] || find -H data ! -type d -print0
}

# links_without_files FOLDER: list the links in FOLDER that name a file or folder outside of FOLDER.
links_without_files() {
    # shellcheck disable=SC2016 # the inner shell expands them
    (cd "$1" && find . -path ./lab/bundle -prune -o -type l -exec sh -c '
        case $(readlink "$1") in /*) ;; *) [ ! -e "$1" ] ;; esac' sh {} \; -print)
}
