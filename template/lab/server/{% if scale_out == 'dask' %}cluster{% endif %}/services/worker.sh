# Starts a worker of the cluster. The container has the only process of the worker, and starts it again.
# shellcheck shell=sh disable=SC1091,SC2154 # the entrypoint sets uid and mode
. /opt/labdock/cluster/dask.sh
. /opt/labdock/cluster/tls.sh
mkdir -p /run/lab/tmp /run/lab/cache
. /opt/labdock/start/certificates.sh
. /opt/labdock/start/volumes.sh
scratch=/var/cache/lab/$uid
own "$scratch"
. /opt/labdock/cpus.sh
LAB_WORKER_THREADS=$(cpu_limit /sys/fs/cgroup)
export LAB_WORKER_THREADS LAB_WORKER_SCRATCH="$scratch" DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export OMP_NUM_THREADS=1 NUMEXPR_MAX_THREADS=1 POLARS_MAX_THREADS=1 # each thread of the worker is one CPU
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    value=$(printenv "$name") || value=
    [ -n "$value" ] || unset "$name"
    [ -z "$value" ] || export "$(echo "$name" | tr '[:upper:]' '[:lower:]')=$value" # some programs read only this name
done
if [ -s /run/ca.pem ]; then # LAB_CA_BUNDLE is set
    export SSL_CERT_FILE=/run/lab/ca.pem REQUESTS_CA_BUNDLE=/run/lab/ca.pem CURL_CA_BUNDLE=/run/lab/ca.pem AWS_CA_BUNDLE=/run/lab/ca.pem
fi
cd /run/lab || exit
exec /opt/venv/bin/python -I /opt/labdock/cluster/worker.py
