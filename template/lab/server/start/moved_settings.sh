# Moves the front end's settings of v0.2.0 and older from the volume `kept` to the server's volume.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

old=/var/lib/lab/$uid/lab
new=/var/lib/server/$uid
if [ -d "$old" ] && [ ! -L "$old" ] && [ ! -e "$new/lab" ]; then
    own "$new"
    mkdir "$new/lab"
    # Notebooks could write the old folder. So take regular files only, and no links.
    (cd "$old" && find . -type f -name '*.jupyterlab-*' -size -1024k -print0 |
        tar --create --null --files-from=- --no-recursion) | tar --extract --directory="$new/lab"
    find "$new/lab" ! -type d ! -type f -delete
fi
