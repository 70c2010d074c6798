"""Run inside a lab: measure how long saves take with the lab's file manager and with Jupyter's own; print JSON.

`python -c … TIMES` starts one server for each file manager. They save in turn, into the same bind mount.
"""

import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TIMES = int(sys.argv[1])
TOKEN = Path("/run/secrets/jupyter_token").read_text().strip()
STOCK = "--ServerApp.contents_manager_class=jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"
MANAGERS = {"labdock": (9888, ()), "Jupyter": (9889, (STOCK,))}


def serve(port: int, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a server with the lab's configuration on `port`, and wait until it answers."""
    settings = {"JUPYTER_CONFIG_DIR": "/opt/labdock", "JUPYTER_DATA_DIR": "/opt/labdock"}
    server = subprocess.Popen(
        ["/opt/jupyter/bin/python", "-I", "-m", "jupyter_server", f"--ServerApp.port={port}", *options],
        env={**os.environ, **settings, "JUPYTER_RUNTIME_DIR": tempfile.mkdtemp()}, cwd="/",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 60
    while True:
        try:
            request(port, "GET", "status")
            return server
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)


def request(port: int, method: str, path: str, data: bytes | None = None) -> float:
    """Seconds until the whole answer has arrived."""
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", data, headers, method=method)
    begin = time.perf_counter()
    with urllib.request.urlopen(asked, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - begin


def notebook() -> bytes:
    """The request that saves a notebook of 12 MB, as a browser sends it: 120 cells, each with a plot of 100 kB."""
    source = random.Random(0)
    cells = []
    for number in range(120):
        plot = base64.b64encode(source.randbytes(75_000)).decode()
        output = {"output_type": "display_data", "metadata": {}, "data": {"image/png": plot, "text/plain": "<Figure>"}}
        cell = {"cell_type": "code", "id": f"c{number}", "execution_count": number + 1, "metadata": {}}
        cells.append({**cell, "source": "plot()", "outputs": [output]})
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps({"type": "notebook", "format": "json", "content": content}).encode()


def save(port: int, path: str, notebook: bytes, checkpoint: bool = False) -> float:
    """Seconds to save."""
    seconds = request(port, "PUT", path, notebook)
    return seconds + request(port, "POST", f"{path}/checkpoints") if checkpoint else seconds


def upload() -> bytes:
    """The request that uploads 1 MB of a large file, as a browser sends it."""
    content = base64.b64encode(random.Random(0).randbytes(1_000_000)).decode()
    return json.dumps({"type": "file", "format": "base64", "chunk": 1, "content": content}).encode()


def pieces(port: int, path: str, piece: bytes) -> float:
    """Seconds to upload 12 pieces."""
    numbers = [*range(1, 12), -1]
    return sum(request(port, "PUT", path, piece.replace(b'"chunk": 1', b'"chunk": %d' % each)) for each in numbers)


def main() -> None:
    """Measure TIMES + 1 times. The first time is not counted, because it creates the files."""
    plots, piece = notebook(), upload()
    servers = [serve(*how) for how in MANAGERS.values()]
    steps = {
        "Save a notebook of 12 MB": lambda port, name: save(port, f"contents/data/{name}.ipynb", plots),
        "Save it with a checkpoint, as Ctrl-S does": lambda port, name: save(
            port, f"contents/data/{name}.ipynb", plots, checkpoint=True
        ),
        "Upload a file of 12 MB, in pieces": lambda port, name: pieces(port, f"contents/data/{name}.bin", piece),
    }
    seconds: dict[str, dict[str, list[float]]] = {step: {name: [] for name in MANAGERS} for step in steps}
    try:
        for _ in range(TIMES + 1):
            for step, take in steps.items():
                for name, (port, _) in MANAGERS.items():
                    seconds[step][name].append(take(port, name))
    finally:
        for server in servers:
            server.kill()
            server.wait()
    print(json.dumps({step: {name: each[1:] for name, each in found.items()} for step, found in seconds.items()}))


main()
