"""The routes of a lab, and requests that no browser would send."""

import base64
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from re import _constants as kind  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from tests.support.project import Project
from tools.notebook import LabClient

Headers = Iterable[tuple[str, str]]
# Group of a pattern -> the word to use, if not every word works.
NAMED = {"format": "html", "kernel_name": "python3"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REST = "data/x"
SILENT = r"/lab/api/licenses/(.*)$"  # a refusal of this route never arrives
SCRIPT = Path(__file__).parent.parent / "attack/routes.py"
UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode()),
)


@dataclass(frozen=True)
class Route:
    """A route of the server. `pattern` is a regular expression for the path."""

    pattern: str
    websocket: bool

    def path(self, rest: str = REST) -> str:
        """A path that the pattern matches. `rest` replaces a part that matches any text."""
        path = sample(parser.parse(self.pattern), rest)
        return path if path.startswith("/") else f"/{path}"


def sample(parsed: Any, rest: str) -> str:
    """A text that a parsed regular expression matches."""
    names = {number: name for name, number in parsed.state.groupdict.items()}
    text = ""
    for what, value in parsed:
        if what is kind.LITERAL:
            text += chr(value)
        elif what is kind.MAX_REPEAT:
            low, _, repeated = value
            free = repeated[0][0] in (kind.ANY, kind.NOT_LITERAL)
            text += rest if free else sample(repeated, rest) * max(low, 1)
        elif what is kind.SUBPATTERN:
            text += NAMED.get(names.get(value[0]), "") or sample(value[-1], rest)
        elif what is kind.BRANCH:
            text += sample(value[1][0], rest)
        elif what is not kind.AT:
            text += "x"
    return text


def routes(project: Project) -> list[Route]:
    """Every route of the running server, including the routes of its extensions."""
    python = ("compose", "exec", "--no-TTY", "server", "/opt/jupyter/bin/python", "-I", "-")
    listed = project.run("docker", *python, input=SCRIPT.read_text(encoding="utf-8")).stdout
    return [Route(pattern, websocket) for pattern, websocket in json.loads(listed)]


@dataclass(frozen=True)
class Answer:
    """The server's answer. The status is 0 if there was no answer."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def send(
    lab: LabClient, method: str, target: str, headers: Headers = (), body: bytes | None = None, timeout: float = 30
) -> Answer:
    """Send a request exactly as given. The path does not change, and redirects are not followed."""
    connection = HTTPConnection(own(lab), timeout=timeout)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    if not any(name == "Host" for name, _ in headers):
        connection.putheader("Host", own(lab))
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    try:
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except TimeoutError:
        return Answer(0, Message(), b"")
    finally:
        connection.close()


def own(lab: LabClient) -> str:
    """Host and port of a lab."""
    return lab.address.partition("://")[2]


def bearer(lab: LabClient) -> tuple[str, str]:
    """The header that carries the token."""
    return "Authorization", f"token {lab.token}"


def contents(lab: LabClient, method: str, path: str, model: dict[str, Any] | None = None) -> Answer:
    """Send a request to the contents API, without changing the path."""
    body = None if model is None else json.dumps(model).encode()
    return send(lab, method, f"/api/contents/{path}", [bearer(lab)], body)


def sweep(
    lab: LabClient,
    routes: Iterable[Route],
    methods: Iterable[str],
    headers: Headers = (),
    query: str = "",
    rest: str = REST,
) -> Iterator[tuple[Route, str, Answer]]:
    """Send a request with each method to every route, and try to open websockets. Yield each answer."""

    def attempts() -> Iterator[tuple[Route, str, Headers]]:
        for route in routes:
            yield from ((route, method, headers) for method in methods)
            if route.websocket and "GET" in methods:
                yield route, "GET", (*headers, *UPGRADE)

    def answered(attempt: tuple[Route, str, Headers]) -> tuple[Route, str, Answer]:
        route, method, headers = attempt
        timeout = 0.2 if route.pattern == SILENT else 30
        return route, method, send(lab, method, route.path(rest) + query, headers, timeout=timeout)

    with ThreadPoolExecutor(16) as pool:
        yield from pool.map(answered, attempts())


def refused(method: str, answer: Answer) -> bool:
    """Is the answer a refusal: 403, 405, a redirect to the login page, or an empty answer to OPTIONS?"""
    if answer.status == 302:
        return answer.headers["Location"].startswith("/login?next=")
    if method == "OPTIONS" and answer.status == 200:
        return not answer.body and "Access-Control-Allow-Origin" not in answer.headers
    return answer.status in (403, 405)
