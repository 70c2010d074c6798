# Checks that LAB_CA_BUNDLE contains readable certificates, for `make doctor`. Prints a problem and its fix, or nothing.
# shellcheck shell=sh

check_certificates() {
    ca=$(setting LAB_CA_BUNDLE)
    { [ -f "$ca" ] && [ -r "$ca" ]; } || return 0 # not set, or check_ca reports it
    if ! grep -qE '^-----BEGIN (TRUSTED )?CERTIFICATE-----' "$ca"; then
        echo "LAB_CA_BUNDLE is '$ca', which contains no certificate in PEM form. If the file is in DER form, run 'openssl x509 -inform der -in $ca -out $ca.pem' and set LAB_CA_BUNDLE=$ca.pem in .env."
    elif command -v openssl >/dev/null && ! openssl crl2pkcs7 -nocrl -certfile "$ca" -out /dev/null 2>/dev/null; then
        echo "LAB_CA_BUNDLE is '$ca', and a certificate in this file is damaged. Ask your site for a new copy of the file."
    fi
}
