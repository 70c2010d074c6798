# Counts the CPUs that the lab can use. This is the lab's CPU limit, rounded up, or the number of CPUs of the machine if that is
# smaller.
# shellcheck shell=sh

# cpu_limit FOLDER: FOLDER contains the limit, in the form of cgroups v2 or v1.
cpu_limit() {
    quota=max period=100000
    if [ -e "$1/cpu.max" ]; then
        read -r quota period <"$1/cpu.max"
    elif [ -e "$1/cpu/cpu.cfs_quota_us" ]; then
        read -r quota <"$1/cpu/cpu.cfs_quota_us"
        read -r period <"$1/cpu/cpu.cfs_period_us"
    fi
    most=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # with these variables, nproc would not count CPUs
    case $quota in
    max | -1) limit=$most ;;
    *) limit=$(((quota + period - 1) / period)) ;;
    esac
    [ "$limit" -le "$most" ] || limit=$most
    echo "$limit"
}
