# Starts the scheduler of the cluster.
# shellcheck shell=sh disable=SC1091,SC2154 # the entrypoint sets uid and mode
. /opt/labdock/cluster/dask.sh
. /opt/labdock/cluster/tls.sh
mkdir -p /run/lab/tmp /run/lab/cache
. /opt/labdock/start/certificates.sh
cd /run/lab || exit
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
exec /opt/venv/bin/python -I -m distributed.cli.dask_scheduler --protocol tls --port 8786 \
    --dashboard-address 127.0.0.1:8790 --preload /opt/labdock/cluster/dashboard_door.py
