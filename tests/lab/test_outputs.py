"""Outputs reach the browser: large ones, many at once, and those of a notebook whose page lost its connection."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.support.project import Project
from tests.support.server_probes import running_kernel
from tests.support.variants import beside, with_server
from tests.support.waiting import until
from tools.notebook import LabClient

V1 = "v1.kernel.websocket.jupyter.org"
LARGE = 'from IPython.display import display\ndisplay({"image/svg+xml": "x" * 100_000_000}, raw=True)'
# Waits until the test says that the server or the page is gone.
WAIT = """
import pathlib, time
from IPython.display import display
data = pathlib.Path.home() / "data"
while not (data / "go").exists():
    time.sleep(0.1)
(data / "go").unlink()
"""
MANY = """
for number in range(2500):
    display({"text/plain": str(number)}, raw=True)
(data / "sent").touch()
"""
PLOTS = """
for _ in range(10):
    display({"image/svg+xml": "x" * 40_000_000}, raw=True)
(data / "sent").touch()
"""


def connect(lab: LabClient, kernel: str, *protocols: str) -> websocket.WebSocket:
    """The connection of a page that shows the notebook."""
    url = f"{lab.address.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?session_id=page&token={lab.token}"
    return websocket.create_connection(url, timeout=60, origin=lab.address, subprotocols=protocols)


def run(page: websocket.WebSocket, code: str) -> None:
    """Run `code` with the protocol of the page."""
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "page", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": {"code": code}}
    if page.subprotocol == V1:
        parts = [b"shell", *(json.dumps(part).encode() for part in message.values())]
        places = itertools.accumulate(map(len, parts), initial=8 * (len(parts) + 2))
        numbers = (number.to_bytes(8, "little") for number in (len(parts) + 1, *places))
        page.send_binary(b"".join((*numbers, *parts)))
    else:
        page.send(json.dumps({"channel": "shell", **message}))


def shown(page: websocket.WebSocket) -> list[str]:
    """The types of the messages about the cell until it has ended."""
    types = []
    while True:
        message = json.loads(page.recv())
        if message["parent_header"].get("msg_id") == "1":
            types.append(message["msg_type"])
            if message["content"].get("execution_state") == "idle":
                return types


def started(page: websocket.WebSocket) -> None:
    """Wait until the cell runs."""
    while json.loads(page.recv())["msg_type"] != "execute_input":
        pass


def go_on(lab: Project) -> None:
    """Let the cell send its outputs, and wait until it has."""
    lab.shell("touch ~/data/go")
    until((lab.folder / "data/sent").exists, "the notebook has sent everything")
    lab.shell("rm ~/data/sent")


def state(lab: Project, kernel: str) -> dict[str, Any]:
    return lab.client().request("GET", f"kernels/{kernel}").json()


def test_a_large_plot_arrives(lab: Project) -> None:
    """JupyterLab's protocol passes outputs on as bytes. In the older one, the server unpacks them."""
    with running_kernel(lab.client()) as kernel:
        page = connect(lab.client(), kernel)
        run(page, LARGE)
        assert "display_data" in shown(page)
        page.close()
        page = connect(lab.client(), kernel, V1)
        run(page, LARGE)
        until(lambda: len(page.recv()) > 100_000_000, "the plot arrives")
        page.close()


@pytest.mark.full
@pytest.mark.parametrize("guarded", [True, False], ids=["as delivered", "the control: the kernel's own queue"])
def test_outputs_wait_while_the_server_is_busy(lab: Project, tmp_path: Path, guarded: bool) -> None:
    file = "ipython/ipython_kernel_config.py"
    layer = with_server(lab, tmp_path, file, lab.read(f"lab/server/{file}") if guarded else "")
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        with running_kernel(twin.client()) as kernel:
            page = connect(twin.client(), kernel)
            run(page, WAIT + MANY)
            started(page)
            twin.shell("pkill -STOP -f '[p]ython -I -m jupyterlab'", "server")
            go_on(twin)
            twin.shell("pkill -CONT -f '[p]ython -I -m jupyterlab'", "server")
            page.settimeout(5)  # less than the pause between two pings of the server
            try:
                found = shown(page).count("display_data")
            except websocket.WebSocketTimeoutException:  # the end of the cell is lost too
                found = 0
            page.close()
        assert (found == 2500) is guarded


@pytest.mark.full
def test_a_page_that_comes_back_gets_the_newest_outputs(lab: Project) -> None:
    """Ten plots of 40 MB come while the page has no connection. Three of them fit."""
    with running_kernel(lab.client()) as kernel:
        page = connect(lab.client(), kernel)
        run(page, WAIT + PLOTS)
        started(page)
        page.close()
        until(lambda: state(lab, kernel)["connections"] == 0, "the server has noticed it")
        go_on(lab)
        until(lambda: state(lab, kernel)["execution_state"] == "idle", "the server has read everything")
        page = connect(lab.client(), kernel)
        assert shown(page).count("display_data") == 3
        page.close()
