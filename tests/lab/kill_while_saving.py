"""Run this in the container `server`: kill a server while it saves a notebook, many times, and look at the file.

`python kill_while_saving.py TIMES [OPTION...]` prints JSON: how often it found the old, the new or a broken notebook.
The server gets the lab's options and these options.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

TIMES, OPTIONS = int(sys.argv[1]), sys.argv[2:]
PORT = 9888
NOTEBOOK = Path.home() / "notebooks/big.ipynb"
TOKEN = Path("/run/secrets/jupyter_token").read_text().strip()
ENVIRONMENT = {
    **os.environ,
    **{"JUPYTER_CONFIG_DIR": "/opt/labdock", "JUPYTER_DATA_DIR": "/opt/labdock"},
    **{"JUPYTER_RUNTIME_DIR": tempfile.mkdtemp(), "LAB_MODE": "serve", "LAB_STATE": tempfile.mkdtemp()},
}
SERVER = [
    *("/opt/jupyter/bin/python", "-I", "-m", "jupyter_server", f"--ServerApp.port={PORT}"),
    *("--ServerApp.jpserver_extensions={}", *OPTIONS),
]


def notebook(version: int) -> dict:
    """A notebook of 12 MB that contains its version number."""
    text = f"version {version}\n" + "x" * 12_000_000
    output = {"output_type": "stream", "name": "stdout", "text": text}
    cell = {"cell_type": "code", "id": "big", "execution_count": 1, "metadata": {}, "outputs": [output], "source": "1"}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def request(method: str, path: str, body: dict | None = None) -> None:
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    url = f"http://127.0.0.1:{PORT}/api/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
        answer.read()


def save(version: int) -> None:
    request("PUT", "contents/notebooks/big.ipynb", {"type": "notebook", "content": notebook(version)})


def until(condition, what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"{what}: not within a minute"
        time.sleep(0.0005)


def serve() -> subprocess.Popen:
    server = subprocess.Popen(SERVER, env=ENVIRONMENT, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            request("GET", "status")
        except OSError:
            return False
        return True

    until(answers, "the server answers")
    return server


def look() -> tuple:
    """The file names, the size and the inode. At least one of them changes as soon as a save writes to the disk."""
    files = {path.name for path in NOTEBOOK.parent.iterdir()}
    return files, NOTEBOOK.stat().st_size, NOTEBOOK.stat().st_ino


def found(version: int) -> str:
    """Which notebook is on disk: "old", "new", or "broken"."""
    try:
        text = "".join(json.loads(NOTEBOOK.read_text())["cells"][0]["outputs"][0]["text"])
    except (ValueError, OSError):
        return "broken"
    whole = len(text) == len(f"version {version}\n") + 12_000_000
    return {version - 1: "old", version: "new"}[int(text.split()[1])] if whole else "broken"


def main() -> None:
    counts = {"old": 0, "new": 0, "broken": 0}
    for _ in range(TIMES):
        server = serve()
        save(100)
        before = look()
        saving = threading.Thread(target=lambda: swallow(101))
        saving.start()
        until(lambda before=before: look() != before, "the save changes a file")
        time.sleep(random.uniform(0, 0.05))  # kill the server at a different moment of the save each time
        server.kill()
        server.wait()
        saving.join()
        counts[found(101)] += 1
    NOTEBOOK.unlink()
    print(json.dumps(counts))


def swallow(version: int) -> None:
    """Save. If the server is killed, there is no answer."""
    with contextlib.suppress(OSError):
        save(version)


main()
