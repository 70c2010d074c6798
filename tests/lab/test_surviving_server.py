"""Notebooks and terminals go on when the server restarts. Only a restart of the container `lab` ends them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websocket
from jupyter_kernel_client import KernelHttpManager, KernelWebSocketClient

from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import becomes, crash, until
from tools.notebook import LabClient, execute, text

PATH = "notebooks/surviving.ipynb"


@contextmanager
def joined(lab: LabClient, kernel: str) -> Iterator[KernelWebSocketClient]:
    """A page that joins a running notebook kernel."""
    manager = KernelHttpManager(server_url=lab.address, token=lab.token, kernel_id=kernel)
    client = manager.client
    client.start_channels()
    try:
        yield client
    finally:
        client.stop_channels()


class Terminal:
    """A page that shows the terminal `name`."""

    def __init__(self, lab: LabClient, name: str) -> None:
        url = f"{lab.address.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={lab.token}"
        self.socket = websocket.create_connection(url, timeout=30, origin=lab.address)

    def type(self, line: str, answer: str) -> str:
        """Type a line, and return what the terminal shows until `answer` comes."""
        self.socket.send(json.dumps(["stdin", f"{line}\r"]))
        shown = ""
        while answer not in shown:
            shown += "".join(part for part in json.loads(self.socket.recv())[1:] if isinstance(part, str))
        return shown


def replace_image(lab: Project) -> None:
    """Give the server a newer image, as an update of its packages does, and start only the server again."""
    image = lab.config()["services"]["server"]["image"]
    lab.run("docker", "build", "--quiet", "--tag", image, "-", input=f"FROM {image}\nLABEL newer=yes\n")
    lab.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "server")
    assert lab.container("server")["Config"]["Labels"]["newer"] == "yes"
    assert "newer" not in lab.container("lab")["Config"]["Labels"]


RESTARTS: dict[str, Callable[[Project], object]] = {
    "restart": lambda lab: lab.compose("restart", "server"),
    "kill": crash,
    "rotate": lambda lab: lab.make("rotate"),
    "update": replace_image,
}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=() if how == "kill" else pytest.mark.full) for how in RESTARTS]
)
def test_notebooks_and_terminals_go_on(fresh_lab: Project, how: str) -> None:
    before = fresh_lab.client()
    named = {"path": PATH, "name": "surviving", "type": "notebook", "kernel": {"name": "python3"}}
    session = before.request("POST", "sessions", json=named).json()
    kernel = session["kernel"]["id"]
    with joined(before, kernel) as page:
        execute(page, "import os, threading, time; answer = 42")
        # A cell that runs while the server restarts. Its result is in the kernel afterwards.
        page.execute("while not os.path.exists('../data/go-on'): time.sleep(0.1)\nanswer += 1")
    name = before.request("POST", "terminals").json()["name"]
    Terminal(before, name).type("answer=42; echo :$((answer + 1))", ":43")

    RESTARTS[how](fresh_lab)
    becomes(fresh_lab, "healthy")
    after = fresh_lab.client()
    (found,) = after.request("GET", "sessions").json()
    assert (found["id"], found["path"], found["kernel"]["id"]) == (session["id"], PATH, kernel)
    fresh_lab.shell("touch ~/data/go-on")
    with joined(after, kernel) as page:
        assert text(execute(page, "print(answer)")) == "43\n"
        assert text(execute(page, "print(input if False else 'still here')")) == "still here\n"
    shown = Terminal(after, name).type("echo :$((answer + 2))", ":44")
    assert ":43" in shown  # what it printed before is shown again
    after.request("DELETE", f"terminals/{name}")
    after.request("DELETE", f"kernels/{kernel}")
    until(lambda: fresh_lab.shell("pgrep -fc '[i]pykernel|^bash$' || true") == "0\n", "both have ended")
    assert fresh_lab.shell("ls $(ls -d /var/lib/server/*)/kernels", "server") == ""


def test_a_restart_of_the_lab_is_told_and_new_kernels_start(fresh_lab: Project) -> None:
    lab = fresh_lab.client()
    kernel = lab.request("POST", "kernels", json={"name": "python3"}).json()["id"]
    with joined(lab, kernel) as page:
        execute(page, "answer = 42")
        request = page.execute("import time; time.sleep(1000)")
        fresh_lab.compose("restart", "--timeout", "5", "lab")
        states, said = [], ""
        while "autorestarting" not in states and "restarting" not in states:
            message = page.get_iopub_msg(timeout=60)
            if message["msg_type"] == "status":
                states.append(message["content"]["execution_state"])
            if message["msg_type"] == "stream" and message["parent_header"].get("msg_id") == request:
                said += message["content"]["text"]
        assert said.strip() == "labdock: the container lab was restarted, so this notebook kernel ended."
    with joined(lab, kernel) as page:
        assert text(execute(page, "print('answer' in globals())")) == "False\n"


@pytest.mark.full
def test_kernels_that_the_server_does_not_know_are_ended(fresh_lab: Project) -> None:
    """For example, after `make reset` deleted the server's records."""
    lab = fresh_lab.client()
    lab.request("POST", "kernels", json={"name": "python3"})
    # While it starts, a program that it runs has its name for some milliseconds.
    until(lambda: fresh_lab.shell("pgrep -fc [i]pykernel") == "1\n", "it has started")
    fresh_lab.shell("rm $(ls -d /var/lib/server/*)/kernels/*", "server")
    fresh_lab.compose("restart", "server")
    becomes(fresh_lab, "healthy")
    assert fresh_lab.client().request("GET", "kernels").json() == []
    until(lambda: fresh_lab.shell("pgrep -fc [i]pykernel || true") == "0\n", "it has ended")


@pytest.mark.full
def test_a_damaged_record_does_not_stop_the_server(fresh_lab: Project) -> None:
    fresh_lab.client().request("POST", "kernels", json={"name": "python3"})
    fresh_lab.shell("for file in $(ls -d /var/lib/server/*)/kernels/*; do echo '{' >$file; done", "server")
    fresh_lab.compose("restart", "server")
    becomes(fresh_lab, "healthy")
    assert fresh_lab.client().request("GET", "kernels").json() == []
    assert fresh_lab.client().run("print(1)") == "1\n"


@pytest.mark.full
def test_a_new_kernel_listens_when_the_page_hears_of_it(lab: Project) -> None:
    """Otherwise, Jupyter's first message may be lost, and the notebook begins half a second later."""
    client = lab.client()
    for _ in range(10):
        kernel = client.request("POST", "kernels").json()["id"]
        listening = lab.shell(f"ls /run/kernels/*/{kernel}").split()
        client.request("DELETE", f"kernels/{kernel}")
        assert listening == ["s-1", "s-2", "s-3", "s-4", "s-5"]


@pytest.mark.nightly
def test_twenty_notebooks_run_at_once(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        running = twin.client()
        kernels = [running.request("POST", "kernels", json={"name": "python3"}).json()["id"] for _ in range(20)]
        for number, kernel in enumerate(kernels):
            with joined(running, kernel) as page:
                assert text(execute(page, f"print({number})")) == f"{number}\n"
