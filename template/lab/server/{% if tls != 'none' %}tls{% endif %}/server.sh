# Checks certificate and key, and copies them. So a file that changes later does not change the running server.
# shellcheck shell=sh

require "$(/opt/jupyter/bin/python -I /opt/labdock/tls/check.py)"
for name in server.pem server.key; do
    (umask 077 && cat "/run/certs/$name" >"/run/lab/$name")
done
