#!/bin/sh
# Runs every notebook in notebooks/ in the running lab. Each notebook has its own kernel and runs in its own folder. The notebook
# files do not change. If a notebook fails, this command prints the output and fails too.
set -eu
. lab/commands/lib/all.sh

require_running
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'end_run; exit 130' HUP INT TERM
find -H notebooks -name .ipynb_checkpoints -prune -o -name '*.ipynb' -print | LC_ALL=C sort >"$work/notebooks"
[ -s "$work/notebooks" ] || refuse "notebooks/ contains no notebook. Save a notebook in this folder first."

# run NOTEBOOK: run the notebook with the nbclient of the server's environment. JUPYTER_DATA_DIR is the folder with the kernels.
# LAB_RUN marks every process of this run.
run() {
    # shellcheck disable=SC2016 # the shell in the lab expands it
    docker exec --env JUPYTER_DATA_DIR=/opt/labdock --env JUPYTER_RUNTIME_DIR=/run/lab \
        --env "LAB_RUN=${work##*/}" "$lab" \
        sh -c 'cd && exec /opt/jupyter/bin/python -I -c "from nbclient.cli import main; main()" "$1"' sh "$1" </dev/null
}

# shellcheck disable=SC2329 # the trap calls it
# end_run: `docker exec` passes no signal on. So end every process in the lab that has this run's mark.
end_run() {
    trap '' HUP INT TERM
    # shellcheck disable=SC2016 # the shell in the lab expands it
    docker exec "$lab" sh -c '
        signal=TERM
        while found=$(grep -lsxzF "LAB_RUN=$1" /proc/[0-9]*/environ | cut -d / -f 3) && [ -n "$found" ]; do
            kill -s $signal $found
            signal=KILL
            sleep 1
        done' sh "${work##*/}" </dev/null >/dev/null 2>&1 || true
}

status=0
ended=$(ended_by_memory)
while IFS= read -r notebook; do
    [ ! -t 1 ] || printf 'run   %s\r' "$notebook" # the result overwrites this line
    if run "$notebook" >"$work/log" 2>&1; then
        echo "ok    $notebook"
    else
        status=1
        echo "FAIL  $notebook"
        tail -n 30 "$work/log"
        before=$ended
        ended=$(ended_by_memory)
        problem="memory was full while $notebook ran, so Linux ended a program. LAB_MEMORY is '$(setting LAB_MEMORY)'. Load less data at once, or set LAB_MEMORY to more in .env and run 'make up'."
        [ "$ended" = "$before" ] || echo "labdock: $problem"
    fi
done <"$work/notebooks"
exit $status
