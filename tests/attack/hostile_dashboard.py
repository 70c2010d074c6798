"""Run in a lab: a hostile dashboard. Usage: hostile_dashboard.py PORT PAGE. It ends when its standard input closes.

`/` is PAGE, `/echo` shows the request that arrives, `/ws` is a websocket, and `/raw/NAME` gives a bad answer.
"""

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Iterable
from itertools import chain, repeat
from urllib.parse import parse_qs, urlsplit

OK = b"HTTP/1.1 200 OK\r\n"
# Headers that a dashboard must not send to a browser, or to a reverse proxy in front of the lab.
HARMFUL = (
    'Clear-Site-Data: "*"', "Strict-Transport-Security: max-age=9999999", 'Alt-Svc: h2="foreign.example:443"',
    "X-Accel-Redirect: /internal", "X-Sendfile: /etc/passwd", "Refresh: 0; url=http://foreign.example",
    'WWW-Authenticate: Basic realm="lab"', "Service-Worker-Allowed: /", "Access-Control-Allow-Origin: *",
    "Cross-Origin-Opener-Policy: unsafe-none", "Content-Security-Policy: frame-ancestors *",
    "Connection: X-Named", "X-Named: 1", "Keep-Alive: timeout=99", "Set-Cookie: planted=1; Path=/",
    "Set-Cookie: planted-wide=1; Domain=localhost; Path=/", "Set-Cookie: planted-lab=1; domain =127.0.0.1",
    "Set-Cookie: labdock-dashboard=planted", "Set-Cookie: _xsrf=planted; DOMAIN=.localhost",
)  # fmt: skip
REPORTING = b"Content-Security-Policy: img-src 'none'; report-uri http://foreign.example/\r\n"


def raw(name: str) -> Iterable[bytes]:
    """The pieces of a bad answer."""
    answers: dict[str, Iterable[bytes]] = {
        "no-http": [b"SSH-2.0-OpenSSH\r\n\r\n"],
        "huge-header": [OK, b"X: " + b"a" * 10**6, b"\r\n\r\n"],
        "endless-headers": chain([OK], repeat(b"X: a\r\n" * 1000)),
        "bad-header": [OK + b"X\x00: a\r\nContent-Length: 0\r\n\r\n"],
        "folded-header": [OK + b"X: a\r\n Location: /\r\nContent-Length: 0\r\n\r\n"],
        "two-lengths": [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"],
        "length-and-chunks": [OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
        "word-as-length": [OK + b"Content-Length: two\r\n\r\nok"],
        "continue": repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "switching": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", OK],
        "nothing": [],
        "bad-chunk": [OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n"],
        "half": [OK + b"Content-Length: 100\r\n\r\nhalf"],
        "half-chunk": [OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf"],
        "second-answer": [OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil"],
        "endless": chain([OK + b"\r\n"], repeat(bytes(65536))),
        "reporting": [OK, REPORTING, b"Content-Length: 2\r\n\r\nok"],
        "attachment": [OK, b"Content-Disposition: attachment\r\nContent-Length: 2\r\n\r\nok"],
        "harmful": [OK, *(f"{header}\r\n".encode() for header in HARMFUL), b"Content-Length: 2\r\n\r\nok"],
    }
    return answers[name]


def plain(kind: str, body: str) -> bytes:
    data = body.encode()
    return OK + f"Content-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    target = urlsplit(head.split(" ", 2)[1])
    headers = [line.split(": ", 1) for line in head.splitlines()[1:] if line]
    given = {name.lower(): value for name, value in headers}
    path = target.path.removeprefix(PREFIX)
    if path == "/echo":
        body = await reader.readexactly(int(given.get("content-length", 0)))
        pieces: Iterable[bytes] = [plain("application/json", json.dumps([head.splitlines()[0], headers, len(body)]))]
    elif path == "/redirect":
        to = parse_qs(target.query)["to"][0]
        pieces = [f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()]
    elif path == "/ws":
        key = (given["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        pieces = [f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode(), b"\x81\x05hello"]
    elif path == "/silence":
        pieces = []
        await reader.read()  # until the other side closes
    elif path == "/sw.js":
        pieces = [plain("text/javascript", "")]
    elif path.startswith("/raw/"):
        pieces = raw(path.removeprefix("/raw/"))
    else:
        pieces = [plain("text/html; charset=utf-8", PAGE)]
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if path == "/ws":
            await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


PREFIX = f"/same-origin/{sys.argv[1]}"  # of the control
PAGE = sys.argv[2]
asyncio.run(main())
