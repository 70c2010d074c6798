# Sets the variables of kernels and terminals: numbers of CPUs, and hosts without a proxy.
# shellcheck shell=sh

# Without these variables, libraries would count the machine's CPUs. OpenBLAS and MKL follow OMP_NUM_THREADS. Do not set
# OPENBLAS_NUM_THREADS and MKL_NUM_THREADS. With them, each process of joblib would start one thread for each CPU.
# shellcheck source=SCRIPTDIR/../cpus.sh
. /opt/labdock/cpus.sh
cpus=$(cpu_limit /sys/fs/cgroup)
for name in OMP_NUM_THREADS NUMEXPR_MAX_THREADS LOKY_MAX_CPU_COUNT PYTHON_CPU_COUNT POLARS_MAX_THREADS RAYON_NUM_THREADS \
    TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS; do
    echo "$name=$cpus"
done >/run/lab/environment
# shellcheck source=SCRIPTDIR/../environment.sh
. /opt/labdock/environment.sh
# Docker's client can set a proxy too.
if [ -n "${HTTP_PROXY:-}${HTTPS_PROXY:-}${http_proxy:-}${https_proxy:-}" ]; then
    no_proxy=${no_proxy:-${NO_PROXY:-}}
    case ,$no_proxy, in *,localhost,*) ;; *) no_proxy="localhost,127.0.0.1,::1${no_proxy:+,$no_proxy}" ;; esac
    export no_proxy NO_PROXY="$no_proxy"
fi
