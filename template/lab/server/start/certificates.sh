# Makes the lab trust your site's certificates (LAB_CA_BUNDLE).
# shellcheck shell=sh disable=SC2154 # the entrypoint sets uid

# Write the image's certificates and LAB_CA_BUNDLE into /run/lab/ca.pem. A link in /etc/ssl/certs leads to this file. For Java,
# a second link leads to /run/lab/cacerts.
[ ! -d /run/ca.pem ] ||
    refuse "LAB_CA_BUNDLE names a folder. Remove this folder if it is empty, and set LAB_CA_BUNDLE to a PEM file in .env."
[ -f /run/ca.pem ] && [ -r /run/ca.pem ] ||
    refuse "LAB_CA_BUNDLE names a file that uid $uid cannot read. Run 'chmod a+r FILE' with this file, or set LAB_CA_BUNDLE to another file in .env."
{ cat /etc/ssl/certs/ca-certificates.crt.image && echo && cat /run/ca.pem; } >/run/lab/ca.pem
if [ -e /etc/ssl/certs/java/cacerts.image ] && [ -s /run/ca.pem ]; then
    openssl pkcs12 -export -nokeys -jdktrust anyExtendedKeyUsage -certpbe NONE -nomac -passout pass: \
        -in /run/lab/ca.pem -out /run/lab/cacerts
elif [ -e /etc/ssl/certs/java/cacerts.image ]; then
    ln -s /etc/ssl/certs/java/cacerts.image /run/lab/cacerts
fi
