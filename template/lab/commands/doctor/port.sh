# Checks that no other container uses the lab's port, for `make doctor`. Prints a problem and its fix, or nothing.
# shellcheck shell=sh disable=SC2154 # find_lab sets server

# This finds only containers that use the port. `make up` also finds other programs, because the engine then opens the
# port. No other test works on every system.
check_port_free() {
    port=$(setting JUPYTER_PORT)
    whole_number "$port" 1 65535 || return 0
    case $(docker port "$server" 8888 2>/dev/null | head -n 1) in *":$port") return ;; esac # this lab has the port
    container=$(docker ps --filter "publish=$port" --format '{{.Names}}' | head -n 1)
    [ -z "$container" ] ||
        echo "port $port is used by container $container. Run '$(into_env JUPYTER_PORT=0)' to use any free port, or set JUPYTER_PORT to another port in .env."
}
