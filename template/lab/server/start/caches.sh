# Makes links to the caches and temporary files on the volume `cache`. These files may be larger than the memory.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

disk=/var/cache/lab/$uid
own "$disk"
# Delete the temporary files and the packages of `pip install` from the last start. This runs in the background, because it may
# take longer than the start.
stamp=$(date +%s%N)
for name in tmp try try.before try.before.new; do
    mv -T "$disk/$name" "$disk/old.$name.$stamp" 2>/dev/null || true
done
({ find "$disk" -maxdepth 1 -name 'old.*' -type d -exec chmod -R u+rwx {} + && rm -rf "$disk"/old.*; } >/dev/null 2>&1 &)
[ -d "$disk/cache/nltk" ] || rm -f "$disk/cache" "$disk/cache/nltk" 2>/dev/null || true # links that lead nowhere
for name in cache tmp try; do
    error=$(umask 077 && mkdir -p "$disk/$name" "$disk/cache/nltk" 2>&1) || # NLTK does not make its own folder
        refuse "the lab cannot write its volume ($error). Free space on the disk of the container engine, then run 'make up'."
    ln -s "$disk/$name" "/run/lab/$name"
done
# A running kernel finds new packages only in a folder that existed when the kernel started (bin/pip).
site=$(echo /opt/venv/lib/python*/site-packages)
mkdir -p "$disk/try/${site#/opt/venv/}"
ln -s "${site#/opt/venv/}" "$disk/try/site"
# Links to your own mounts in ~/.cache (see mounts.sh) move to the cache on the disk.
find "$disk/cache" -maxdepth 3 -lname '/home/*/.mounted-*' -delete 2>/dev/null || true # links of the last start
if [ ! -L "$HOME/.cache" ] && ! mountpoint -q "$HOME/.cache"; then
    find "$HOME/.cache" -type l 2>/dev/null | while read -r link; do
        path=$disk/cache${link#"$HOME/.cache"}
        mkdir -p "${path%/*}"
        rm -rf "$path"
        mv "$link" "$path"
    done
    rm -rf "$HOME/.cache" # only empty folders are left in it
    ln -s "$disk/cache" "$HOME/.cache"
fi
