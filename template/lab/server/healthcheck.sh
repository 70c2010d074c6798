#!/bin/bash
# Succeed only where the server really answers: a listening port or a log line is not enough. Bash and its /dev/tcp
# cost 3 ms of processor time; starting Python twice a second would slow down the very start that it watches.
set -eu
exec 3<>/dev/tcp/127.0.0.1/8888
printf 'GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
