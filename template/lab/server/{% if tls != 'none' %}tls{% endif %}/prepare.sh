# Makes the server's certificate if the project has an authority of its own, and checks certificate and key.
# shellcheck shell=sh

for name in server.pem server.key; do
    # If the engine starts a server whose certificate is missing, the engine creates an empty folder with this name.
    [ ! -d "/run/certs/$name" ] || rmdir "/run/certs/$name" 2>/dev/null || true
done
[ ! -e /opt/labdock/tls/authority.py ] || require "$(/opt/jupyter/bin/python -I /opt/labdock/tls/authority.py)"
require "$(/opt/jupyter/bin/python -I /opt/labdock/tls/check.py)"
