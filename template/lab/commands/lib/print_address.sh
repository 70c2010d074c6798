# Prints the lab's address, and the path of its token.
# shellcheck shell=sh disable=SC2154 # find_lab sets server, and all.sh sets scheme

# print_address [--link]: with --link, also print a link that logs in, but only on a terminal.
print_address() {
    address=$(docker port "$server" 8888 2>/dev/null | head -n 1)
    [ -n "$address" ] ||
        refuse "the lab has no port on this machine. Remove your change of 'ports' from compose.override.yaml, then run 'make up'."
    case $address in 0.0.0.0:* | '[::]':*) address=127.0.0.1:${address##*:} ;; esac
    address=$scheme://$(known_as "$address")
    case $(setting JUPYTER_UI) in
    lab) path=lab ;;
    *) path=tree ;;
    esac
    echo "Token:   in secrets/jupyter_token (the page asks for it once)"
    # The link contains the token. So it is not in the output of `make up`, which people copy, and not in a pipe or a log.
    if [ "${1:-}" = --link ] && [ -t 1 ] && token=$(cat secrets/jupyter_token) && matches "$token" '[A-Za-z0-9._~-]+'; then
        echo "Login:   $address/login?next=/$path&token=$token"
    fi
    echo "Address: $address/$path"
}
