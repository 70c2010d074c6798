# Makes this uid's own folder in each volume of this container.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

# own FOLDER: make this uid's folder in a volume. Another user of this volume could have created a file or link with this name.
own() {
    error=$(mkdir -m 700 "$1" 2>&1) || [ -e "$1" ] || [ -L "$1" ] || unwritable
    owner=$(stat -c %u "$1")
    [ "$owner" = "$uid" ] ||
        refuse "in the lab's volume, the folder for uid $uid belongs to uid $owner. Run 'make reset' to delete all folders of this volume and start again."
    { [ -d "$1" ] && [ ! -L "$1" ]; } ||
        refuse "in the lab's volume, $1 is not a folder. Run 'make reset' to delete the volume and start again."
    error=$(chmod 700 "$1" 2>&1) || unwritable
}

unwritable() {
    refuse "the lab cannot write its volume ($error). Free space on the disk of the container engine, or make the volume writable for uid $uid. Then run 'make up'."
}
