#!/bin/bash
# Checks that the server answers a request to /api. An open port or a line in the log is not enough.
# This check runs twice a second during a start. With Python, it would slow down the start. Bash needs 3 ms of CPU time.
set -eu
exec 3<>/dev/tcp/127.0.0.1/8888
printf 'GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
