#!/bin/sh
# Imports the CA that the browser trusts, if a test gives one, as a person does in the settings. Then starts the browser.
set -eu
if [ -s /ca.pem ]; then
    mkdir -p /tmp/.pki/nssdb
    certutil -d sql:/tmp/.pki/nssdb -N --empty-password
    certutil -d sql:/tmp/.pki/nssdb -A -n test -t C,, -i /ca.pem
fi
exec "$@"
