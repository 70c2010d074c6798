"""Shows the dashboards of the lab, such as Streamlit, in the browser, each at a host name of its own.

`/dashboards/8501` leads a browser that has logged in to `http://p8501-KEY.localhost:8888`. All pages of this host name
come from port 8501 in the lab. The server does not trust a dashboard. The host name differs from the lab's, so the
dashboard's scripts reach neither the lab's pages nor the lab's cookie. The login is a cookie for this host name only.
"""

import asyncio
import hashlib
import hmac
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

from agent_client import APART, connect
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError

Connect = Callable[[int], Awaitable[socket.socket]]
COOKIE = "labdock-dashboard"
TICKET = "labdock-dashboard-ticket"
ENTER = "/.labdock/enter"
MINUTE = 1 / (24 * 60)  # of a day
MONTH = 30 * 24 * 3600  # seconds
CONNECT_SECONDS = 10
CONNECTIONS = 256  # to all dashboards at once. The server may open 4096 files
PIECE = 65536  # bytes that a connection reads at once
# An answer may have any size, because the server holds only one piece of it.
LIMITS = HTTP1ConnectionParameters(no_keep_alive=True, max_header_size=PIECE, max_body_size=2**62, chunk_size=PIECE)
# What a dashboard does not get: credentials, what a reverse proxy adds, and the framing of the browser's connection.
KEPT_BACK = re.compile(
    "(proxy-.*|x-forwarded-.*|x-auth-.*|x-remote-.*|x-real-ip|forwarded|via|authorization|referer|host|origin|cookie"
    "|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|http2-settings)",
    re.IGNORECASE,
)
# What a browser gets from a dashboard. Other headers could act on a proxy, or on more than one page.
LET_THROUGH = {
    "Accept-Ranges", "Allow", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
    "Content-Length", "Content-Range", "Content-Security-Policy", "Content-Type", "Cross-Origin-Embedder-Policy",
    "Etag", "Expires", "Last-Modified", "Permissions-Policy", "Pragma", "Referrer-Policy", "Retry-After", "Vary",
    "X-Content-Type-Options", "X-Frame-Options",
}  # fmt: skip
WEBSOCKET = {"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions"}


async def loopback(port: int) -> socket.socket:
    """A connection to this port in the server's own container. OSError if nothing listens."""
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except BaseException:
        connection.close()
        raise
    return connection


def label(secret: bytes, port: int) -> str:
    """The first part of a dashboard's host name. It is another one in each lab, and after `make rotate`.

    So the files and settings that a browser stores for a dashboard of one lab are unknown to all other dashboards.
    """
    key = hmac.new(secret, f"dashboard {port}".encode(), hashlib.sha256).hexdigest()[:16]
    return f"p{port}-{key}"


def domains(settings: dict[str, Any]) -> list[str]:
    """The domains of dashboards: localhost or another name for this machine, and each `*.DOMAIN` in JUPYTER_HOSTS."""
    others = (host[2:] for host in settings["local_hostnames"] if host.startswith("*."))
    return [settings.get("dashboards_domain", "localhost"), *others]


def redirected(location: str, path: str, port: int) -> str | None:
    """The path of a redirect from `path`, or None if the redirect leaves the dashboard."""
    if re.search(r"[\\\x00-\x20\x7f]", location):  # browsers read these characters in other ways than urljoin
        return None
    try:
        target = urlsplit(urljoin(f"http://localhost:{port}{path}", location))
    except ValueError:
        return None
    if target.scheme != "http" or target.netloc not in (f"localhost:{port}", f"127.0.0.1:{port}"):
        return None
    inside = urlunsplit(("", "", target.path or "/", target.query, target.fragment))
    return inside if re.match("/(?!/)", inside) else None


def without_domain(cookie: str) -> str:
    """A Set-Cookie header whose cookie only this host name gets."""
    parts = cookie.split(";")
    return ";".join(part for part in parts if part.partition("=")[0].strip().lower() != "domain")


class Enter(JupyterHandler):
    """Leads a browser that has logged in to the host name of a dashboard."""

    @web.authenticated
    def get(self, port: str) -> None:
        number = int(port) if re.fullmatch("[1-9][0-9]{3,4}", port) else 0
        if not 1024 <= number <= 65535 or number == self.serverapp.port:
            raise web.HTTPError(400, f"{port!r} is not the port of a dashboard. Use a port from 1024 to 65535.")
        domain = self.domain()
        if domain is None:
            raise web.HTTPError(
                400,
                f"Dashboards need host names of their own, but the lab is open as {self.request.host_name!r}. Open the "
                "lab at 127.0.0.1, for example through 'ssh -L', or add a name such as *.dashboards.example.net to "
                "JUPYTER_HOSTS in .env.",
            )
        name = label(self.settings["cookie_secret"], number)
        _, colon, outside = self.request.host.rpartition(":")
        address = f"{name}.{domain}:{outside}" if colon and outside.isdigit() else f"{name}.{domain}"
        ticket = self.create_signed_value(TICKET, name).decode()
        self.set_header("Cache-Control", "no-store")
        self.redirect(f"//{address}{ENTER}?{urlencode({'key': ticket})}")  # Jupyter's log hides the value of `key`

    def domain(self) -> str | None:
        """The domain for dashboards of a browser that opened the lab with this host name."""
        local, *others = domains(self.settings)
        try:
            loopback = ip_address(self.request.host_name.strip("[]")).is_loopback
        except ValueError:
            loopback = self.request.host_name == "localhost"
        return local if loopback else next(iter(others), None)


@web.stream_request_body
class Dashboard(web.RequestHandler):
    """Passes the requests for one host name on to a port in the lab, with websockets."""

    def initialize(self, connect: Connect, streams: set[IOStream]) -> None:
        self.connect = connect
        self.streams = streams
        self.app: HTTP1Connection | None = None
        self.port = 0

    def set_default_headers(self) -> None:
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")  # no `opener` in either direction
        self.set_header("Content-Security-Policy", "frame-ancestors 'self'")

    def check_xsrf_cookie(self) -> None:
        """Dashboards have forms and XSRF cookies of their own. `refuse_others` refuses requests of other pages."""

    # --- who may come in ------------------------------------------------------------------------------
    async def prepare(self) -> None:
        name = self.request.host_name.partition(".")[0]
        self.port = int(name[1 : name.index("-")])
        if not hmac.compare_digest(name, label(self.settings["cookie_secret"], self.port)):
            raise web.HTTPError(404, f"This is an old address. Open /dashboards/{self.port} in the lab.")
        if self.request.path == ENTER:
            self.enter(name)
            return
        if self.get_signed_cookie(COOKIE) != name.encode():
            raise web.HTTPError(
                403, f"This browser may not open the dashboard. Open /dashboards/{self.port} in the lab."
            )
        self.refuse_others()
        await self.start()

    def enter(self, name: str) -> None:
        """Set the cookie for a browser that `Enter` has sent."""
        ticket = self.get_query_argument("key", "")
        if self.request.method != "GET" or self.get_signed_cookie(TICKET, ticket, MINUTE) != name.encode():
            raise web.HTTPError(403, f"This link is too old. Open /dashboards/{self.port} in the lab.")
        secure = self.request.protocol == "https"
        self.set_signed_cookie(COOKIE, name, max_age=MONTH, httponly=True, samesite="Lax", secure=secure)
        self.set_header("Cache-Control", "no-store")
        self.redirect("/")

    def refuse_others(self) -> None:
        """Refuse requests of other pages, and requests that could take a credential into the lab."""
        headers = self.request.headers
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != self.request.host.lower():
            raise web.HTTPError(403, f"A page of {origin[:100]} may not use this dashboard.")
        if headers.get("Service-Worker"):  # it would stay in the browser after the dashboard has ended
            raise web.HTTPError(403, "A dashboard may not register a service worker.")
        token = self.settings["identity_provider"].token
        if not self.request.uri.startswith("/") or (token and token in unquote(self.request.uri)):
            raise web.HTTPError(400, "This address is not a path of a dashboard, or contains the token of the lab.")
        if "Transfer-Encoding" in headers and self.request.method not in ("POST", "PUT", "PATCH"):
            raise web.HTTPError(411, "This request needs a Content-Length.")

    # --- to the dashboard -----------------------------------------------------------------------------
    async def start(self) -> None:
        """Connect and send the request's headers."""
        self.streams -= {stream for stream in self.streams if stream.closed()}
        if len(self.streams) >= CONNECTIONS:
            raise web.HTTPError(503, f"The dashboards have {CONNECTIONS} connections. Close some of their pages.")
        try:
            connection = await asyncio.wait_for(self.connect(self.port), CONNECT_SECONDS)
        except OSError as error:
            message = f"Nothing answers on port {self.port} in the lab ({error}). Start the dashboard, then reload."
            raise web.HTTPError(502, message) from error
        stream = IOStream(connection, max_buffer_size=2 * PIECE, read_chunk_size=PIECE)
        self.streams.add(stream)
        self.app = HTTP1Connection(stream, True, LIMITS, f"port {self.port} in the lab")
        start = RequestStartLine(self.request.method, self.request.uri, "")
        with suppress(StreamClosedError):  # `pass_on` reads the answer, if there is one
            await self.app.write_headers(start, self.headers_for_dashboard())

    def headers_for_dashboard(self) -> HTTPHeaders:
        """The browser's headers. For the dashboard, the browser runs in the lab and asks for localhost."""
        given = self.request.headers
        named = {name.strip().lower() for name in given.get("Connection", "").split(",")}
        headers = HTTPHeaders()
        for name, value in given.get_all():
            if name.lower() not in named and not KEPT_BACK.fullmatch(name):
                headers.add(name, value)
        headers["Host"] = f"localhost:{self.port}"
        if "Origin" in given:
            headers["Origin"] = f"http://localhost:{self.port}"
        cookies = [part.strip() for line in given.get_list("Cookie") for part in line.split(";")]
        if others := [cookie for cookie in cookies if cookie.partition("=")[0].strip() != COOKIE]:
            headers["Cookie"] = "; ".join(others)
        headers["Connection"] = "Upgrade" if self.websocket() else "close"
        if self.websocket():
            headers["Upgrade"] = "websocket"
        return headers

    def websocket(self) -> bool:
        return self.request.method == "GET" and self.request.headers.get("Upgrade", "").lower() == "websocket"

    async def data_received(self, chunk: bytes) -> None:
        """Pass on a piece of the request's body."""
        if self.app is not None and self.app.stream is not None:
            with suppress(StreamClosedError):  # `pass_on` reads the answer, if there is one
                await self.app.write(chunk)

    def on_connection_close(self) -> None:
        if self.app is not None:
            self.app.close()

    # --- to the browser -------------------------------------------------------------------------------
    @allow_unauthenticated  # `prepare` has checked the dashboard's own cookie
    async def pass_on(self) -> None:
        """Send the dashboard's answer to the browser."""
        assert self.app is not None
        answer = Answer(self)
        stream = self.app.stream
        try:
            self.app.finish()
            await self.app.read_response(answer)
            if answer.tunnel:
                await tunnel(stream, self.detach())
        except (StreamClosedError, HTTPInputError):
            pass
        finally:
            stream.close()
        if answer.refusal or not answer.started:
            raise web.HTTPError(502, answer.refusal or f"Port {self.port} in the lab gives no complete HTTP answer.")
        if not answer.tunnel and answer.complete:
            self.finish()
        elif not answer.tunnel:
            self.detach().close()  # so that the browser notices that a part is missing

    get = head = post = put = patch = delete = options = pass_on

    def copy_headers(self, status: ResponseStartLine, headers: HTTPHeaders) -> None:
        """Take the status and the harmless headers of the dashboard's answer."""
        self.set_status(status.code)
        self.clear_header("Content-Type")
        for name, value in headers.get_all():
            if name in LET_THROUGH or (status.code == 101 and name in WEBSOCKET):
                self.add_header(name, value)
            elif name == "Set-Cookie" and value.partition("=")[0].strip() != COOKIE:
                self.add_header(name, without_domain(value))

    # --- refusals and the log -------------------------------------------------------------------------
    def write_error(self, status_code: int, **more: Any) -> None:
        """A sentence instead of a page."""
        error = more.get("exc_info", (None, None))[1]
        known = isinstance(error, web.HTTPError) and error.log_message
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(f"{error.log_message % error.args if known else self._reason}\n")

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, web.HTTPError):
            super().log_exception(kind, error, trace)

    def _log(self) -> None:
        """Write no line for each request, because a dashboard could fill the server's log."""


class Answer(HTTPMessageDelegate):
    """Passes a dashboard's answer on as it comes, as fast as the browser reads it."""

    def __init__(self, browser: Dashboard) -> None:
        self.browser = browser
        self.started = self.complete = self.tunnel = False
        self.refusal = ""

    async def headers_received(self, start_line: ResponseStartLine, headers: HTTPHeaders) -> None:
        browser = self.browser
        upgraded = browser.websocket() and headers.get("Upgrade", "").lower() == "websocket"
        if start_line.code < 200 and not (start_line.code == 101 and upgraded):
            raise HTTPInputError(f"status {start_line.code}")
        length = headers.get("Content-Length")
        if length is not None and (not re.fullmatch(r"\d+", length) or "Transfer-Encoding" in headers):
            raise HTTPInputError(f"Content-Length {length[:100]}")
        if location := headers.get("Location"):
            inside = redirected(location, browser.request.path, browser.port)
            if inside is None:
                shown = repr(location[:200])
                self.refusal = f"The dashboard redirects to {shown}, which is not its own address. Open it yourself."
                raise HTTPInputError(self.refusal)
            browser.set_header("Location", inside)
        browser.copy_headers(start_line, headers)
        self.started = True
        if start_line.code == 101:
            self.tunnel = True
            browser.set_header("Upgrade", "websocket")
            browser.set_header("Connection", "Upgrade")
            browser.finish()
            browser.app.detach()
        else:
            await self.sent()

    async def data_received(self, chunk: bytes) -> None:
        self.browser.write(chunk)
        await self.sent()

    async def sent(self) -> None:
        """Wait until the browser has the piece. If the browser has gone, end the connection to the dashboard."""
        try:
            await self.browser.flush()
        except StreamClosedError:
            self.browser.app.close()

    def finish(self) -> None:
        self.complete = True


async def tunnel(one: IOStream, other: IOStream) -> None:
    """Pass bytes on in both directions until one side closes."""

    async def pump(source: IOStream, sink: IOStream) -> None:
        try:
            while True:
                await sink.write(await source.read_bytes(PIECE, partial=True))
        except StreamClosedError:
            one.close()
            other.close()

    await asyncio.gather(pump(one, other), pump(other, one))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "dashboards"}]


def _load_jupyter_server_extension(app: Any) -> None:
    web_app = app.web_app
    web_app.add_handlers(".*$", [(url_path_join(app.base_url, r"/dashboards/(\w+)"), Enter)])
    allowed = "|".join(map(re.escape, domains(web_app.settings)))
    arguments = {"connect": connect if APART else loopback, "streams": set()}
    web_app.add_handlers(r"p[1-9][0-9]{3,4}-[0-9a-f]{16}\.(" + allowed + ")$", [(".*", Dashboard, arguments)])
    # The host names of dashboards come before every route of the lab, also before routes of extensions.
    rules = web_app.default_router.rules
    rules.insert(0, rules.pop(-2))
