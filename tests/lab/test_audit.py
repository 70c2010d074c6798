"""With LAB_AUDIT=on, the server writes what it passes to kernels. What it cannot write does not run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import websocket

from tests.support.project import Project
from tests.support.variants import beside
from tests.support.vscode import PROTOCOL, packed, unpacked
from tools.notebook import LabClient

FOLDER = "/var/lib/server/$(id -u)/audit"
PROTOCOLS = ["", PROTOCOL]
Message = dict[str, Any]


@pytest.fixture(scope="module")
def audited(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    name = f"{lab.compose_name()}-audited"
    with beside(lab, tmp_path_factory.mktemp("audited"), LAB_AUDIT="on", COMPOSE_PROJECT_NAME=name) as twin:
        twin.serve()
        yield twin


@dataclass
class Page:
    """A websocket to a kernel, with the subprotocol v1 or the old protocol, which has no name."""

    lab: LabClient
    kernel: str
    path: str  # of its notebook
    protocol: str

    def __post_init__(self) -> None:
        address = f"{self.lab.address.replace('http', 'ws', 1)}/api/kernels/{self.kernel}/channels"
        self.socket = websocket.create_connection(
            f"{address}?session_id={uuid4()}&token={self.lab.token}",
            subprotocols=[self.protocol] if self.protocol else None, suppress_origin=True, timeout=60,
        )  # fmt: skip

    def send(self, channel: str, kind: str, content: Message) -> str:
        """Send a message and return its id."""
        header = {"msg_id": uuid4().hex, "session": "a session", "username": "a name", "version": "5.3"}
        header |= {"date": "2026-01-01T00:00:00Z", "msg_type": kind}
        if self.protocol:
            self.socket.send_binary(packed(channel, header, content))
        else:
            whole = {"header": header, "parent_header": {}, "metadata": {"cellId": "a cell"}, "content": content}
            self.socket.send(json.dumps({"channel": channel, **whole}))
        return header["msg_id"]

    def ask(self, channel: str, kind: str, content: Message, answer: str = "") -> list[Message]:
        """The answers to a message, until the reply and the state `idle`. Every input gets the text `answer`."""
        asked, heard = self.send(channel, kind, content), []
        awaited = {"idle", kind.replace("request", "reply")}
        while awaited:
            data = self.socket.recv()
            message = unpacked(data) if self.protocol else json.loads(data)
            if message["parent_header"].get("msg_id") == asked:
                heard.append(message)
                awaited -= {message["header"]["msg_type"], message["content"].get("execution_state")}
                if message["header"]["msg_type"] == "input_request":
                    self.send("stdin", "input_reply", {"value": answer})
        return heard

    def run(self, code: str, **options: Any) -> str:
        """What `code` prints, or the value of its error."""
        content = {"code": code, "silent": False, "allow_stdin": True, "user_expressions": {}, **options}
        heard = self.ask("shell", "execute_request", content, "a secret text")
        values = {"stream": "text", "error": "evalue"}
        return "".join(m["content"][values[kind]] for m in heard if (kind := m["header"]["msg_type"]) in values)


@contextmanager
def notebook(lab: LabClient, protocol: str) -> Iterator[Page]:
    """A page with a new kernel, which belongs to a notebook."""
    path = f"notebooks/{uuid4()}.ipynb"
    asked = {"path": path, "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    session = lab.request("POST", "sessions", json=asked).json()
    page = Page(lab, session["kernel"]["id"], path, protocol)
    try:
        yield page
    finally:
        page.socket.close()
        lab.request("DELETE", f"sessions/{session['id']}")


def lines(project: Project, kernel: str = "") -> list[Message]:
    """The lines about a kernel, or all lines."""
    found = map(json.loads, project.shell(f"cat {FOLDER}/*.jsonl", "server").splitlines())
    return [line for line in found if not kernel or line.get("kernel") == kernel]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["old protocol", "v1"])
def test_each_way_to_run_code_has_a_line_without_output(audited: Project, protocol: str) -> None:
    lab = audited.client()
    with notebook(lab, protocol) as page:
        page.ask("shell", "kernel_info_request", {})
        assert page.run("print('out' + 'put')", user_expressions={"one": "1 + 0"}) == "output\n"
        page.run("x = 2", silent=True)
        assert page.run("print(input('in'))") == "a secret text\n"
        for command in ("debugInfo", "evaluate"):
            page.ask("control", "debug_request", {"type": "request", "seq": 1, "command": command, "arguments": {}})
        page.send("control", "execute_request", {"code": "3"})
        for action in ("interrupt", "restart"):
            lab.request("POST", f"kernels/{page.kernel}/{action}")
    found = lines(audited, page.kernel)
    assert "a secret text" not in str(found) and "output" not in str(found)
    asked = [line for line in found if not line["event"].startswith("kernel ")]
    assert [line["event"] for line in asked] == [
        "execute_request", "execute_request", "execute_request", "input", "debug_request", "execute_request",
    ]  # fmt: skip
    assert [line.get("code") for line in asked[:3]] == ["print('out' + 'put')", "x = 2", "print(input('in'))"]
    assert [line.get("silent") for line in asked[:2]] == [False, True]
    assert asked[0]["expressions"] == '{"one": "1 + 0"}' and '"evaluate"' in asked[4]["content"]
    for line in asked:
        assert (line["kernel_name"], line["claimed"]["username"]) == ("python3", "a name")
        assert line["notebooks"] == [page.path] and ("cell" in line["claimed"]) is not bool(protocol)
        assert len(line["login"]) == 32 and line["address"]
    done = [line["event"] for line in found if line not in asked]
    assert (done[0], done[-1]) == ("kernel start", "kernel shutdown")
    assert {"kernel interrupt", "kernel restart"} <= set(done)
    assert all(line["status"] == "success" and line["login"] for line in found if line not in asked)


@pytest.mark.parametrize("kind", [b"execute_request", rb"execute\u005frequest"], ids=["plain", "escaped"])
def test_a_request_to_follow_a_run_runs_no_code(audited: Project, kind: bytes) -> None:
    """It has no line, because the server itself answers it."""
    with notebook(audited.client(), PROTOCOL) as page:
        mark = "#" * len(kind)
        header = {"msg_id": "1", "session": "a session", "username": "", "version": "5.3", "msg_type": mark}
        content = {"code": "followed = 1", "silent": False, "user_expressions": {}}
        message = packed("shell", header, content, {"labdock_run": "any"})
        page.socket.send_binary(message.replace(mark.encode(), kind))
        assert page.run("print('followed' in globals())") == "False\n"
    assert [line["event"] for line in lines(audited, page.kernel)].count("execute_request") == 1


def test_a_terminal_has_a_line(audited: Project) -> None:
    lab = audited.client()
    name = lab.request("POST", "terminals").json()["name"]
    assert terminal(lab, name) == 101
    (line,) = (line for line in lines(audited) if line.get("terminal") == name)
    assert line["event"] == "terminal" and line["login"]


def terminal(lab: LabClient, name: str) -> int:
    """The status of the answer to the websocket of a terminal. 101 means that it opens."""
    url = f"{lab.address.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={lab.token}"
    try:
        websocket.create_connection(url, timeout=60, suppress_origin=True).close()
    except websocket.WebSocketBadStatusException as refused:
        return refused.status_code
    return 101


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["old protocol", "v1"])
def test_what_cannot_be_written_does_not_run(audited: Project, protocol: str) -> None:
    """The control: before and after, the same kernel runs code."""
    lab = audited.client()
    name = lab.request("POST", "terminals").json()["name"]
    with notebook(lab, protocol) as page:
        page.run("x = 1")
        audited.shell(f"chmod 400 {FOLDER}/*", "server")
        try:
            said = page.run("x = 2")
            page.ask("control", "debug_request", {"command": "evaluate", "arguments": {}})
            assert terminal(lab, name) == 503
            lab.request("POST", f"kernels/{page.kernel}/interrupt")
        finally:
            audited.shell(f"chmod 600 {FOLDER}/*", "server")
        assert said.startswith("labdock: nothing runs, because LAB_AUDIT is on and the server cannot write what runs (")
        assert "Permission denied" in said and said.endswith("set LAB_AUDIT=off in .env and run 'make up'.")
        assert said in audited.logs()
        assert page.run("print(x)") == "1\n"
        assert terminal(lab, name) == 101
    assert [line["code"] for line in lines(audited, page.kernel) if "code" in line] == ["x = 1", "print(x)"]


@pytest.mark.full
def test_without_the_setting_nothing_is_written(lab: Project, tmp_path: Path) -> None:
    """The control."""
    with beside(lab, tmp_path) as twin:
        twin.serve()
        with notebook(twin.client(), PROTOCOL) as page:
            assert page.run("print(1)") == "1\n"
        assert "audit" not in twin.shell("ls /var/lib/server/*", "server")
