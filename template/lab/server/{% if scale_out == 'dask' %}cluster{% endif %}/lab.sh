# Lets `Client()` in a notebook find the cluster, with the certificate of the client.
# shellcheck shell=sh disable=SC1091,SC2154 # the entrypoint sets uid and mode
. /opt/labdock/cluster/tls.sh

cat >>/run/lab/environment <<'VARIABLES'
DASK_SCHEDULER_ADDRESS=tls://scheduler:8786
DASK_DISTRIBUTED__COMM__TLS__CA_FILE=/run/cluster/ca.pem
DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT=/run/cluster/tls.pem
DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY=/run/cluster/tls.key
DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION=1.3
DASK_DISTRIBUTED__DASHBOARD__LINK=/dashboards/{port}
VARIABLES
. /opt/labdock/environment.sh
