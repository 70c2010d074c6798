"""Run notebooks in a lab through its HTTP and websocket API, as a browser does."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import nbformat
import requests
from jupyter_kernel_client import KernelHttpManager, KernelWebSocketClient
from jupyter_kernel_client.client import output_hook


@dataclass(frozen=True)
class LabClient:
    """A running lab: its address, such as http://127.0.0.1:8888, and its token."""

    address: str
    token: str

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the server's REST API. Raises `requests.HTTPError` for a status of 400 or more."""
        headers = {"Authorization": f"token {self.token}"}
        url = f"{self.address}/api/{quote(path)}"
        response = requests.request(method, url, headers=headers, timeout=60, **options)
        response.raise_for_status()
        return response

    @contextmanager
    def kernel(self, folder: str = "notebooks", name: str = "python3") -> Iterator[KernelWebSocketClient]:
        """Start a notebook kernel `name` in `folder` (relative to home). The kernel ends with the `with` block."""
        manager = KernelHttpManager(server_url=self.address, token=self.token)
        manager.start_kernel(name=name, path=folder, timeout=60)
        kernel = manager.client
        kernel.start_channels()
        try:
            yield kernel
        finally:
            manager.shutdown_kernel(now=True)
            # Without this, websocket-client takes up to 10 s to notice that the kernel has ended.
            if kernel.kernel_socket.sock:  # none if the server has ended
                kernel.kernel_socket.sock.sock.shutdown(socket.SHUT_RDWR)
            kernel.connection_thread.join()
            kernel.stop_channels()

    def run(self, code: str) -> str:
        """Run `code` in a new notebook kernel and return its output. Raises `CellError` if the code fails."""
        with self.kernel() as kernel:
            return text(execute(kernel, code))

    def run_notebook(self, path: str) -> nbformat.NotebookNode:
        """Read the notebook at `path` (relative to home), run its cells, save it and return it."""
        notebook = nbformat.from_dict(self.request("GET", f"contents/{path}").json()["content"])
        with self.kernel(name=notebook.metadata.get("kernelspec", {}).get("name", "python3")) as kernel:
            for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
                cell.outputs = [nbformat.from_dict(output) for output in execute(kernel, cell.source)]
                cell.execution_count = count
        nbformat.validate(notebook)
        self.request("PUT", f"contents/{path}", json={"type": "notebook", "content": notebook})
        return notebook


class CellError(RuntimeError):
    """A cell raised an error. The message names this error."""


def execute(kernel: KernelWebSocketClient, code: str) -> list[dict[str, Any]]:
    """The outputs of `code` in the notebook format. Raises `CellError` if the notebook kernel reports an error."""
    outputs: list[dict[str, Any]] = []
    reply = kernel.execute_interactive(code, timeout=300, output_hook=partial(output_hook, outputs))
    content = reply["content"]
    if content["status"] != "ok":
        raise CellError(f"{content.get('ename', content['status'])}: {content.get('evalue', '')}")
    for output in outputs:
        output.pop("transient", None)  # part of the protocol, not of the notebook format
    return outputs


def text(outputs: Iterable[dict[str, Any]]) -> str:
    """The printed text among `outputs`."""
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def printed(notebook: nbformat.NotebookNode) -> str:
    """The printed text of all cells of a notebook."""
    return text(output for cell in notebook.cells for output in cell.get("outputs", []))
