# Checks the free disk space, for `make doctor`.
# shellcheck shell=sh disable=SC2154 # doctor.sh sets engine_folder

# A build takes about four times the size of its image, for the stages, the image and the cache of packages.
check_disk() {
    needed=5
    if grep -qs '^nvidia-' requirements.lock; then
        needed=30
    elif grep -qsE '^(torch|tensorflow|pyspark)(==| @ )' requirements.lock; then
        needed=10
    fi
    free=$(free_space "$engine_folder")
    [ "${free:-$needed}" -ge "$needed" ] ||
        echo "$free GB are free in the engine's folder $engine_folder, but a build needs up to $needed GB. Run 'docker builder prune' or 'docker image prune --all' to free space."
    free=$(free_space .)
    [ "${free:-1}" -ge 1 ] ||
        echo "less than 1 GB is free for data/ and notebooks/. Move large files to another disk. To list them, run 'du -ah . | sort -rh | head'."
}

# free_space FOLDER: print the free space in whole gigabytes. Print nothing if this machine does not have the folder (Docker
# Desktop, DOCKER_HOST).
free_space() {
    df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }'
}
