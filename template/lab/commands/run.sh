#!/bin/sh
# Run every notebook below notebooks/ in the running lab, each with its own kernel and from its own folder. The files stay
# as they are; a cell that fails is shown, and fails the whole.
set -eu
. lab/commands/lib/all.sh

docker compose port lab 8888 >/dev/null 2>&1 || refuse "the lab is not running: start it with 'make up'."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'end_run; exit 130' HUP INT TERM
find notebooks -name .ipynb_checkpoints -prune -o -name '*.ipynb' -print | LC_ALL=C sort >"$work/notebooks"
[ -s "$work/notebooks" ] || refuse "there is no notebook below notebooks/."

# run NOTEBOOK: the server's own nbclient does it; JUPYTER_DATA_DIR is where the kernels are named, LAB_RUN a mark of
# all that it starts.
run() {
    # shellcheck disable=SC2016 # the lab's HOME
    docker compose exec --no-TTY --env JUPYTER_DATA_DIR=/opt/labdock --env JUPYTER_RUNTIME_DIR=/run/lab \
        --env "LAB_RUN=${work##*/}" lab \
        sh -c 'cd && exec /opt/jupyter/bin/python -I -c "from nbclient.cli import main; main()" "$1"' sh "$1" </dev/null
}

# shellcheck disable=SC2329 # the trap calls it
# end_run: no signal from here reaches the lab, so all with this run's mark is ended there: kernel, children and all.
end_run() {
    trap '' HUP INT TERM
    # shellcheck disable=SC2016 # the lab's shell expands it
    docker compose exec --no-TTY lab sh -c '
        signal=TERM
        while found=$(grep -lsxzF "LAB_RUN=$1" /proc/[0-9]*/environ | cut -d / -f 3) && [ -n "$found" ]; do
            kill -s $signal $found
            signal=KILL
            sleep 1
        done' sh "${work##*/}" </dev/null >/dev/null 2>&1 || true
}

status=0
while IFS= read -r notebook; do
    [ ! -t 1 ] || printf 'run   %s\r' "$notebook" # its result takes this line's place
    if run "$notebook" >"$work/log" 2>&1; then
        echo "ok    $notebook"
    else
        status=1
        echo "FAIL  $notebook"
        tail -n 30 "$work/log"
    fi
done <"$work/notebooks"
exit $status
