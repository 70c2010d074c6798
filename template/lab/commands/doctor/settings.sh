# Doctor's further checks of settings. Each prints a problem and its fix, or nothing.
# shellcheck shell=sh

# Files in scratch space count as memory. If all three folders are full, the server needs memory too.
check_scratch() {
    scratch=$(bytes "$(setting LAB_SCRATCH)")
    memory=$(bytes "$(setting LAB_MEMORY)")
    [ "$scratch" -gt 0 ] && [ "$memory" -gt 0 ] || return 0 # check_limits reports it
    [ "$((3 * scratch))" -lt "$memory" ] ||
        echo "LAB_SCRATCH is '$(setting LAB_SCRATCH)' and LAB_MEMORY is '$(setting LAB_MEMORY)'. LAB_SCRATCH must be less than a third of LAB_MEMORY. Change one of them in .env to fix it."
}

check_certificates() {
    ca=$(setting LAB_CA_BUNDLE)
    { [ -f "$ca" ] && [ -r "$ca" ]; } || return 0 # not set, or check_ca reports it
    if ! grep -qE '^-----BEGIN (TRUSTED )?CERTIFICATE-----' "$ca"; then
        echo "LAB_CA_BUNDLE is '$ca', which holds no certificate in PEM form. If it is in DER form, run 'openssl x509 -inform der -in $ca -out $ca.pem' and set LAB_CA_BUNDLE=$ca.pem in .env."
    elif command -v openssl >/dev/null && ! openssl crl2pkcs7 -nocrl -certfile "$ca" -out /dev/null 2>/dev/null; then
        echo "LAB_CA_BUNDLE is '$ca', and a certificate in it is damaged. Get the file from your site again."
    fi
}

# A port that another program uses is found by `make up`: only a program that listens can tell on every system.
check_port_free() {
    port=$(setting JUPYTER_PORT)
    whole_number "$port" 1 65535 || return 0
    case $(docker compose port lab 8888 2>/dev/null) in *":$port") return ;; esac # this lab has it
    container=$(docker ps --filter "publish=$port" --format '{{.Names}}' | head -n 1)
    [ -z "$container" ] ||
        echo "port $port is used by container $container. Run '$(into_env JUPYTER_PORT=0)' for any free port, or set JUPYTER_PORT to another port in .env."
}
