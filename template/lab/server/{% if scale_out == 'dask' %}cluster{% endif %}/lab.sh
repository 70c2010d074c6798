# Checks the certificate with which `Client()` connects to the cluster (config/dask.yaml).
# shellcheck shell=sh disable=SC1091
. /opt/labdock/cluster/tls.sh
