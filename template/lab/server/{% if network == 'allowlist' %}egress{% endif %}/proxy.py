"""The proxy of `lab`. It connects to the domains in egress/allowlist.txt at the ports 80 and 443, and to nothing else.

It does not open encrypted connections: it compares the name in a TLS connection's first message with the name that the
program asked the proxy for. docs/explanation/decisions/egress.md says why this is no other proxy.
"""

import asyncio
import base64
import os
import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment

import h11

sys.path += ["/opt/labdock", "/opt/labdock/egress"]

import allowlist
from audit_lines import Files

PORT = 3128
LIST = Path("/run/egress/allowlist.txt")
ROUTES = ("/proc/net/route", "/proc/net/ipv6_route")
LOG = Files(Path("/var/log/egress"))
HEAD = 64 * 1024  # bytes of a request's head, or of a TLS connection's first message
PATIENCE = 30  # seconds for a request's head, a name's address, a connection, and a TLS connection's first message
MOST = 256  # connections at once
OWN_HEADERS = {b"host", b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"te", b"upgrade"}
FAILURES = (OSError, h11.ProtocolError, ValueError, TimeoutError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refused(Exception):
    """The proxy does not connect. The text says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class List:
    """The domains in egress/allowlist.txt. The file is read again when it changes. A wrong line allows no domain."""

    def __init__(self) -> None:
        self.domains: list[str] = []
        self.problem = ""
        self.read()

    def state(self) -> object:
        """A value that changes when the file changes."""
        try:
            stat = LIST.stat()
        except OSError as error:
            return error.errno
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def read(self) -> None:
        """Read the file."""
        self.seen = self.state()
        try:
            self.domains, self.problem = allowlist.read(LIST), ""
        except ValueError as error:
            self.domains, self.problem = [], str(error)
            print(f"labdock: {error}", file=sys.stderr, flush=True)

    def check(self, host: str, port: int, expected: int) -> None:
        """Raise `Refused` unless the list allows this host and port."""
        if self.problem:
            raise Refused(403, self.problem)
        if not allowlist.listed(host, self.domains):
            kind = "is an address, which is never allowed. Use a name in" if allowlist.address(host) else "is not in"
            raise Refused(403, f"{host} {kind} {allowlist.FILE}")
        if port != expected:
            raise Refused(403, f"port {port} of {host} is not allowed. Only 80 (http) and 443 (https) are")


DOMAINS = List()
TUNNELS: dict[asyncio.Task[None], str] = {}  # by connection: its host
CERTIFICATES = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt.image")


def record(host: str, port: int, verdict: str) -> None:
    """Write a line into the log. Raises `Refused` if this fails: nothing leaves without a line."""
    try:
        LOG.write({"host": host, "port": port, "verdict": verdict})
    except OSError as error:
        raise Refused(503, f"egress/log cannot be written: {error.strerror}. So nothing leaves") from None


def full() -> str:
    """Why the log cannot be written, or ""."""
    try:
        if os.statvfs(LOG.folder).f_bavail and os.access(LOG.folder, os.W_OK):
            return ""
    except OSError:
        pass
    return f"egress/log is full, or uid {os.getuid()} cannot write it. Run 'sudo chown -R {os.getuid()} egress/log'."


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection from the lab."""
    task = asyncio.current_task()
    assert task
    client = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
    try:
        if len(TUNNELS) >= MOST:
            raise Refused(503, f"{MOST} connections are open. Close one of them")
        TUNNELS[task] = ""
        async with asyncio.timeout(PATIENCE):
            request = await event(client, reader)
        if isinstance(request, h11.Request):
            await answer(client, request, reader, writer)
    except Refused as refused:
        await say(client, writer, refused.status, str(refused))
    except FAILURES as error:
        await say(client, writer, 400, f"the proxy cannot read the request: {error}")
    finally:
        TUNNELS.pop(task, None)
        writer.close()


async def answer(
    client: h11.Connection, request: h11.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Check a request's host, and connect the lab to it. Raises `Refused`."""
    target = request.target.decode()
    if target.startswith("/"):  # the health check
        await say(client, writer, 200, DOMAINS.problem or full() or "ok")
        return
    tunnel = request.method == b"CONNECT"
    parts = urlsplit(f"//{target}" if tunnel else target)
    host, port = (parts.hostname or "").removesuffix("."), parts.port or (443 if tunnel else 80)
    try:
        if not tunnel and parts.scheme != "http":
            raise Refused(400, f"'{parts.scheme}' is not allowed. Use http, or https through CONNECT")
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            raise Refused(400, "the request has two lengths. Remove Content-Length or Transfer-Encoding")
        DOMAINS.check(host, port, 443 if tunnel else 80)
        record(host, port, "allowed")
        task = asyncio.current_task()
        assert task
        TUNNELS[task] = host
        async with asyncio.timeout(PATIENCE):
            streams, upstream = await connect(host, port, tunnel)
    except Refused as refused:
        record(host, port, f"refused: {refused}")
        raise
    except OSError as error:
        raise Refused(502, f"{host} does not answer ({error.strerror or 'too slow'}). Try again later.") from None
    try:
        if tunnel:
            await pass_tunnel(client, host, port, (reader, writer), streams)
        else:
            await pass_request(client, request, host, port, (reader, writer), streams, upstream)
    finally:
        streams[1].close()


# --- the connection to the other side -----------------------------------------------------------------
async def connect(host: str, port: int, tunnel: bool) -> tuple[Streams, dict[bytes, bytes] | None]:
    """Connect to `host`. Also returns the headers for your site's proxy if a request goes to it."""
    proxies = getproxies_environment()
    site = proxies.get("https" if tunnel else "http")
    if not site or proxy_bypass_environment(host, proxies):
        return await open_one(host, port), None
    parts = urlsplit(site if "://" in site else f"http://{site}")
    secure = CERTIFICATES if parts.scheme == "https" else None
    streams = await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    headers = {b"Proxy-Authorization": b"Basic " + base64.b64encode(login)} if parts.username else {}
    if tunnel:
        try:
            await ask_site(streams, f"{host}:{port}", headers)
        except BaseException:
            streams[1].close()
            raise
    return streams, headers


async def ask_site(streams: Streams, target: str, headers: dict[bytes, bytes]) -> None:
    """Let your site's proxy connect to `target`. Raises `Refused`."""
    reader, writer = streams
    site = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
    asked = h11.Request(method="CONNECT", target=target, headers=[(b"Host", target.encode()), *headers.items()])
    writer.write(site.send(asked) or b"")
    response = await event(site, reader)
    status = getattr(response, "status_code", None)
    if not status or not 200 <= status < 300:
        raise Refused(502, f"the proxy of your site answered {status} for {target}. See HTTPS_PROXY in .env")


async def open_one(host: str, port: int) -> Streams:
    """Connect to the first address of `host` that is allowed and answers. Raises `Refused` or OSError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(502, f"{host} has no address ({error.strerror}). Check this name.") from None
    tables = [Path(file).read_text() if Path(file).exists() else "" for file in ROUTES]
    networks = allowlist.attached(*tables)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    failure: Exception = Refused(403, f"{host} has the address {addresses[0]}, which is not allowed")
    for each in addresses:
        if allowlist.allowed(each, networks):
            try:
                return await asyncio.open_connection(each, port)
            except OSError as error:
                failure = error
    raise failure


# --- between the two sides ----------------------------------------------------------------------------
async def event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    """The next part of an HTTP message."""
    while (found := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(HEAD))
    return found


async def pass_tunnel(client: h11.Connection, host: str, port: int, lab: Streams, other: Streams) -> None:
    """Pass bytes in both directions, if the first ones begin a TLS connection to `host`."""
    lab[1].write(client.send(h11.Response(status_code=200, reason=b"Connection established", headers=[])) or b"")
    first = client.trailing_data[0]
    name = None
    try:
        async with asyncio.timeout(PATIENCE):
            while (name := server_name(first)) is None and len(first) < HEAD and (data := await lab[0].read(HEAD)):
                first += data
    except TimeoutError:
        pass
    if (name or "").lower().removesuffix(".") != host:
        record(host, port, f"refused: the connection is not TLS for {host}" + (f", but for {name}" if name else ""))
        return
    other[1].write(first)
    await both(pump(lab[0], other[1]), pump(other[0], lab[1]))


async def pass_request(
    client: h11.Connection,
    request: h11.Request,
    host: str,
    port: int,
    lab: Streams,
    other: Streams,
    upstream: dict[bytes, bytes] | None,
) -> None:
    """Pass one request and its answer. The other side sees the host that was checked, and no second request."""
    path = request.target.partition(b"//")[2].partition(b"/")[2]
    target = b"/" + path if upstream is None else f"http://{host}/".encode() + path
    kept = [(name, value) for name, value in request.headers if name not in OWN_HEADERS]
    headers = [(b"Host", host.encode()), (b"Connection", b"close"), *kept, *(upstream or {}).items()]
    server = h11.Connection(h11.CLIENT)
    other[1].write(server.send(h11.Request(method=request.method, target=target, headers=headers)) or b"")

    async def body() -> None:
        while isinstance(part := await event(client, lab[0]), h11.Data):
            other[1].write(server.send(part) or b"")
            await other[1].drain()
        if isinstance(part, h11.EndOfMessage):
            other[1].write(server.send(part) or b"")
            await lab[0].read(1)  # waits until the program closes the connection

    await both(pump(other[0], lab[1]), body(), first=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes until there are no more."""
    while data := await reader.read(HEAD):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def both(*passing: object, first: bool = False) -> None:
    """Wait until both have ended, or, with `first`, one of them. An error ends both."""
    tasks = [asyncio.ensure_future(each) for each in passing]  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED if first else asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def server_name(first: bytes) -> str | None:
    """The host in the first message of a TLS connection. "" if the bytes are none, None if some are missing."""
    names: list[str | None] = []

    def found(_connection: object, name: str | None, _context: object) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = found  # type: ignore[assignment]
    incoming = ssl.MemoryBIO()
    incoming.write(first)
    try:
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError:
        pass
    return (names[0] or "") if names else ""


async def say(client: h11.Connection, writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """Answer with a text, also in the status line. Most programs show only this line."""
    reason = text.encode("ascii", "replace")
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(reason) + 1)), ("Connection", "close")]
    try:
        parts = (h11.Response(status_code=status, reason=reason, headers=headers), h11.Data(reason + b"\n"))
        for part in (*parts, h11.EndOfMessage()):
            writer.write(client.send(part) or b"")
        await writer.drain()
    except FAILURES:
        pass  # the program is gone, or has an answer already


async def watch() -> None:
    """Read the list again when it changes. End connections to domains that are not in the list any more."""
    before = DOMAINS.seen
    while True:
        await asyncio.sleep(0.5)
        now = DOMAINS.state()
        if now != DOMAINS.seen and now == before:  # a program may still write a file that has just changed
            DOMAINS.read()
            for task, host in list(TUNNELS.items()):
                if host and not allowlist.listed(host, DOMAINS.domains):
                    task.cancel()
        before = now


async def main() -> None:
    server = await asyncio.start_server(serve, host=None, port=PORT, limit=HEAD)
    async with server:
        await asyncio.gather(server.serve_forever(), watch())


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main())
