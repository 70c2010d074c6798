# The server connects to no other machine, so it needs no certificates of your site, and no cache.
# shellcheck shell=sh

ln -s /etc/ssl/certs/ca-certificates.crt.image /run/lab/ca.pem
mkdir -p /run/lab/tmp /run/lab/cache
