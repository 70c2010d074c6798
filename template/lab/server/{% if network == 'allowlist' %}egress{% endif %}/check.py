"""The health check of `egress`. Fails if the proxy does not answer. Prints ok, or why no domain is allowed."""

import socket

with socket.create_connection(("127.0.0.1", 3128), timeout=4) as connection:
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    head, _, text = connection.makefile().read().partition("\n\n")
    print(text, end="")
    raise SystemExit(not text)
