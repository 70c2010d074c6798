"""Dashboards in a lab's container, and requests to their addresses."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from http.cookies import SimpleCookie

from tests.support.network import Answer, Headers, Message, bearer, send
from tests.support.project import Project
from tests.support.repository import ROOT
from tools.notebook import LabClient

HOSTILE = ROOT / "tests/attack/hostile_dashboard.py"
PAGE = HOSTILE.with_suffix(".html")
PORT = 8501
COOKIE = "labdock-dashboard"


@contextmanager
def running(project: Project, program: str, *arguments: str) -> Iterator[None]:
    """Run a Python program in the lab until the end of the block.

    The program prints "ready" when it has started. It ends when its standard input closes.
    """
    (lab,) = project.ids("service=lab")
    command = ("docker", "exec", "--interactive", lab, "python3", "-c", program, *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.stdin.close()


def hostile(project: Project, port: int = PORT) -> AbstractContextManager[None]:
    """A hostile dashboard on a port of the lab."""
    return running(project, HOSTILE.read_text(encoding="utf-8"), str(port), PAGE.read_text(encoding="utf-8"))


@dataclass
class Entered:
    """A browser that has opened a dashboard from the lab. `host` is the dashboard's host name, with the lab's port."""

    lab: LabClient
    host: str
    cookie: str

    def ask(self, path: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None) -> Answer:
        """The answer to a request with the dashboard's cookie. The status is 0 if the answer is cut off."""
        whole = [("Host", self.host), ("Cookie", f"{self.cookie}; own=1"), *headers]
        return asked(self.lab, path, whole, method, body)


def asked(lab: LabClient, path: str, headers: Headers, method: str = "GET", body: bytes | None = None) -> Answer:
    """The answer to a request. The status is 0 if the answer is cut off."""
    try:
        return send(lab, method, path, headers, body)
    except (HTTPException, ConnectionError):
        return Answer(0, Message(), b"")


def link(lab: LabClient, port: int | str = PORT) -> tuple[str, str]:
    """Host name and path to which a browser with the token is led."""
    location = send(lab, "GET", f"/dashboards/{port}", [bearer(lab)]).headers["Location"]
    found = re.fullmatch(r"//([^/]+)(/.*)", location)
    assert found, location
    return found[1], found[2]


def entered(lab: LabClient, port: int = PORT) -> Entered:
    """Open a dashboard, as a browser that has logged in does."""
    host, path = link(lab, port)
    answer = send(lab, "GET", path, [("Host", host)])
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    cookie = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    return Entered(lab, host, f"{COOKIE}={cookie.coded_value}")
