# Checks that the running lab answers, for `make doctor`.
# shellcheck shell=sh disable=SC2154 # find_lab sets lab, server and their states

# These functions ask the lab itself. The engine notices a frozen server late. It never reports a paused one. A restart of `lab`
# would end notebook kernels, so doctor restarts nothing.
check_lab() {
    check_container server "$server" "$server_state" bash /opt/labdock/healthcheck.sh
    check_container lab "$lab" "$lab_state" /opt/jupyter/bin/python -IS /opt/labdock/agent_check.py
}

# check_container SERVICE ID STATE COMMAND...: print a problem if the container does not pass its health check.
check_container() {
    service=$1 id=$2
    case $3 in
    paused*) echo "the service $service is paused. Run 'docker compose unpause $service'." && return ;;
    restarting*) echo "the service $service stops after each start. Run 'make logs' to see the reason." && return ;;
    running*"(health: starting)") return 0 ;;
    running*) ;;
    *) return 0 ;; # stopped
    esac
    shift 3
    ! docker exec "$id" timeout 5 "$@" >/dev/null 2>&1 || return 0
    reason=$(docker logs --tail 1 "$id" 2>&1 | sed -n 's/^labdock: //p')
    if [ -n "$reason" ]; then
        echo "the lab refused to start: $reason Then run 'make up'."
    elif [ "$service" = server ]; then
        echo "the server runs but does not answer. Run 'docker compose restart server'. Notebooks go on."
    else
        echo "the service lab does not answer, so no notebook can start. Wait until its programs need less CPU time. If this does not help, run 'docker compose restart lab', which ends all notebooks and terminals."
    fi
}
