# Checks that the running lab answers, for `make doctor`.
# shellcheck shell=sh disable=SC2154 # find_lab sets lab and state

# This function asks the lab itself. The engine notices a frozen server late. It never reports a paused one. A restart
# would end notebook kernels and lose unsaved work, so doctor does not restart the lab.
check_lab() {
    case $state in
    paused*) echo "the lab is paused. Run 'docker compose unpause lab'." && return ;;
    restarting*) echo "the lab stops after each start. Run 'make logs' to see the reason." && return ;;
    running\ starting) return 0 ;;
    running*) ;;
    *) return 0 ;; # stopped
    esac
    ! docker exec "$lab" timeout 5 bash /opt/labdock/healthcheck.sh >/dev/null 2>&1 || return 0
    reason=$(docker logs --tail 1 "$lab" 2>&1 | sed -n 's/^labdock: //p')
    if [ -n "$reason" ]; then
        echo "the lab refused to start: $reason Then run 'make up'."
    else
        echo "the lab runs but does not answer. Its notebook kernels may still be saving files. Wait until they are done, then run 'docker compose restart lab'."
    fi
}
