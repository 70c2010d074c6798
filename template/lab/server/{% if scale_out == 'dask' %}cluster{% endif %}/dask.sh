# Checks that the environment contains Dask.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets mode

[ -n "$(find /opt/venv/lib/python3*/site-packages/distributed -prune)" ] ||
    refuse "the $mode needs Dask, but requirements.lock lacks it. Run 'make add PKG=\"bokeh dask[dataframe,distributed]\"', then 'make up'."
