"""A fake server for programs that check for known vulnerabilities.

Only packages that the test lists have a vulnerability. These programs ask fixed hosts over TLS. Their setting for a
proxy leads every request to this server.
"""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.package_index import authority, serving, signed


class Advisories(BaseHTTPRequestHandler):
    """Accepts any CONNECT, shows a certificate for that host, and answers as the host would."""

    server: "Server"

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed(self.server.folder, self.path.partition(":")[0]))
        self.connection = self.request = context.wrap_socket(self.connection, server_side=True)
        self.setup()
        self.handle()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if found := re.fullmatch(r"/pypi/([^/]+)/[^/]+/json", self.path):
            holes = self.server.holes.get(found[1].lower(), [])
            answer: object = {"info": {}, "vulnerabilities": holes}
        elif self.path.endswith("/data/json"):  # Debian's security tracker
            answer = {}
        else:
            return self.send_error(404)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """`asked` gets every path. `holes` contains the advisories of each package. Certificates are made in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Advisories)
        self.folder = folder
        self.asked: list[str] = []
        self.holes: dict[str, list[dict[str, object]]] = {}


@contextmanager
def advisories(folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """The server, and the environment that leads programs to it."""
    ca = authority(folder)
    server = Server(folder)
    with serving(server) as port:
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        yield server, {"HTTPS_PROXY": f"http://127.0.0.1:{port}", **dict.fromkeys(names, str(ca))}
