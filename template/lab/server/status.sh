# Asks the server for an answer, inside of its container.
# shellcheck shell=bash

# status PATH [HEADER]: print the status of the answer to a request. The health check calls this function twice a second during a
# start. With Python, it would slow down the start. Bash needs 3 ms of CPU time.
status() {
    exec 3<>/dev/tcp/127.0.0.1/8888
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n\r\n' "$1" "${2:-Accept: */*}" >&3
    read -r -t 4 _ answer _ <&3
    echo "$answer"
}

# Some answers to Copier's questions add a folder that replaces this function.
for part in /opt/labdock/*/status.sh; do
    # shellcheck source=/dev/null
    [ ! -e "$part" ] || . "$part"
done
