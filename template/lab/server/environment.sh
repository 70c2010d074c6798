# Sets the variables in /run/lab/environment, except those that are set already. The entrypoint and each interactive bash read
# this file.
# shellcheck shell=sh
while IFS='=' read -r name value; do
    printenv "$name" >/dev/null || export "$name=$value"
done </run/lab/environment
unset name value
