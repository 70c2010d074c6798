# Checks the files in /run/cluster: ca.pem, tls.pem and tls.key.
# shellcheck shell=sh disable=SC2154 # the entrypoint sets mode and uid

role=$mode
[ "$role" != lab ] || role=client
for name in ca.pem tls.pem tls.key; do
    [ -s "/run/cluster/$name" ] && [ -r "/run/cluster/$name" ] ||
        refuse "uid $uid cannot read secrets/cluster/$role/$name. Run 'make up' on the machine of the scheduler, which makes this file. On another machine, copy the folder secrets/cluster/$role from there."
done
openssl x509 -in /run/cluster/tls.pem -noout -checkend 0 >/dev/null ||
    refuse "the certificate secrets/cluster/$role/tls.pem is not valid or has expired. Run 'make certs' on the machine of the scheduler. On another machine, copy the folder secrets/cluster/$role from there."
openssl verify -CAfile /run/cluster/ca.pem /run/cluster/tls.pem >/dev/null 2>&1 ||
    refuse "the certificate secrets/cluster/$role/tls.pem is not signed by the certificate authority (CA) in secrets/cluster/$role/ca.pem. Run 'make certs' on the machine of the scheduler. On another machine, copy the folder secrets/cluster/$role from there."
[ "$(openssl pkey -in /run/cluster/tls.key -pubout 2>/dev/null)" = "$(openssl x509 -in /run/cluster/tls.pem -noout -pubkey)" ] ||
    refuse "secrets/cluster/$role/tls.key is not the key of the certificate in tls.pem. Run 'make certs' on the machine of the scheduler. On another machine, copy the folder secrets/cluster/$role from there."
