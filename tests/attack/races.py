"""Run in the container `server` by its Python: attack each operation of the file manager. Print what was won.

The program starts the image's server once more, and sends requests to it. During a request, it exchanges a file or
folder in a mount for a link to the folder OUTSIDE, or a file for a named pipe. An attack is won if the answer or a file
in a mount contains something from OUTSIDE, if something changes there, or if the server does not answer.

`races.py each RUNS SECONDS [OPTION...]` exchanges right before one call to Linux. For each operation and each file that
it can exchange, it makes about RUNS runs, with a different call each time.
`races.py chance RUNS SECONDS [OPTION...]` makes RUNS runs of each operation. Another process exchanges all the time.
Without an answer after SECONDS, the attack is won. The server gets the options.
The result is JSON: operation -> the number of runs, and the attacks that were won.
"""

import asyncio
import contextlib
import ctypes
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODE, NUMBER, PATIENCE, *OPTIONS = sys.argv[1:]
os.environ |= {
    **{"JUPYTER_CONFIG_DIR": "/opt/labdock", "JUPYTER_DATA_DIR": "/opt/labdock"},
    **{"JUPYTER_RUNTIME_DIR": tempfile.mkdtemp(), "LAB_MODE": "serve", "LAB_STATE": tempfile.mkdtemp()},
}

from jupyter_server.serverapp import ServerApp  # noqa: E402 (reads the environment)
from tornado.httpclient import AsyncHTTPClient, HTTPClientError  # noqa: E402
from tornado.httpserver import HTTPServer  # noqa: E402
from tornado.netutil import bind_sockets  # noqa: E402

Request = tuple[str, str, Any]
HOME, OUTSIDE = Path.home(), Path("/tmp/outside")
IN, TO, ASIDE = "data/race/in", "notebooks/race/to", "data/race-aside"
MINE = [HOME / path for path in ("data/race", "notebooks/race", ASIDE)]
SECRET, OLD = "kept-outside", 978310861  # in the year 2001
TOKEN = Path("/run/secrets/jupyter_token").read_text().strip()
# Calls that take no path.
HARMLESS = {"close", "fspath", "fstat", "fsync", "getpid", "getuid", "getgid", "urandom", "write", "read", "umask"}
libc = ctypes.CDLL(None)


def notebook(text: str) -> dict[str, Any]:
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


TEXT = {"type": "file", "format": "text", "content": "new"}
NOTEBOOK = {"type": "notebook", "content": notebook("new")}
FILE, BOOK, SUB, KEPT = f"{IN}/file.txt", f"{IN}/book.ipynb", f"{IN}/sub", f"{IN}/.ipynb_checkpoints"
CHECKPOINT, DEEP = f"{KEPT}/file-checkpoint.txt", f"{SUB}/deep"
# Operation -> what is exchanged besides the folder IN, and the requests.
OPERATIONS: dict[str, tuple[list[str], *tuple[Request, ...]]] = {
    "get a file": ([FILE], ("GET", f"contents/{FILE}", None)),
    "get a file's dates": ([FILE], ("GET", f"contents/{FILE}?content=0", None)),
    "get a file's hash": ([FILE], ("GET", f"contents/{FILE}?content=0&hash=1", None)),
    "get a notebook": ([BOOK], ("GET", f"contents/{BOOK}", None)),
    "get a folder's dates": ([SUB], ("GET", f"contents/{SUB}?content=0", None)),
    "list a folder": ([SUB, FILE], ("GET", f"contents/{IN}", None)),
    "trust a notebook": ([BOOK], ("POST", f"contents/{BOOK}/trust", {})),
    "download a file": ([FILE], ("GET", f"/files/{FILE}?download=1", None)),
    "ask for a file's size": ([FILE], ("HEAD", f"/files/{FILE}", None)),
    "view a file": ([FILE], ("GET", f"/view/{FILE}", None)),
    "convert a notebook": ([BOOK], ("GET", f"/nbconvert/markdown/{BOOK}", None)),
    "save a file": ([FILE], ("PUT", f"contents/{FILE}", TEXT)),
    "save a notebook": ([BOOK], ("PUT", f"contents/{BOOK}", NOTEBOOK)),
    "save a hard link": ([f"{IN}/hard.txt"], ("PUT", f"contents/{IN}/hard.txt", TEXT)),
    "save through a link": ([f"{IN}/link.txt", FILE], ("PUT", f"contents/{IN}/link.txt", TEXT)),
    "save a new file": ([], ("PUT", f"contents/{IN}/new.txt", TEXT)),
    "upload in pieces": ([FILE], *(("PUT", f"contents/{FILE}", TEXT | {"chunk": number}) for number in (1, 2, -1))),
    "make a checkpoint": ([FILE, CHECKPOINT, KEPT], ("POST", f"contents/{FILE}/checkpoints", {})),
    "list checkpoints": ([CHECKPOINT, KEPT], ("GET", f"contents/{FILE}/checkpoints", None)),
    "restore a checkpoint": ([FILE, CHECKPOINT, KEPT], ("POST", f"contents/{FILE}/checkpoints/checkpoint", {})),
    "delete a checkpoint": ([CHECKPOINT, KEPT], ("DELETE", f"contents/{FILE}/checkpoints/checkpoint", None)),
    "rename a file": ([FILE, KEPT], ("PATCH", f"contents/{FILE}", {"path": f"{IN}/other.txt"})),
    "rename a folder": ([SUB], ("PATCH", f"contents/{SUB}", {"path": f"{IN}/other"})),
    "move a file to the other mount": ([FILE, TO], ("PATCH", f"contents/{FILE}", {"path": f"{TO}/file.txt"})),
    "move a folder to the other mount": ([SUB, DEEP, TO], ("PATCH", f"contents/{SUB}", {"path": f"{TO}/sub"})),
    "delete a file": ([FILE, KEPT], ("DELETE", f"contents/{FILE}", None)),
    "delete a folder": ([f"{IN}/empty"], ("DELETE", f"contents/{IN}/empty", None)),
    "create a file": ([], ("POST", f"contents/{IN}", {"type": "file", "ext": ".txt"})),
    "create a notebook": ([], ("POST", f"contents/{IN}", {"type": "notebook"})),
    "create a folder": ([], ("POST", f"contents/{IN}", {"type": "directory"})),
    "create a folder with a name": ([], ("PUT", f"contents/{IN}/made", {"type": "directory"})),
    "copy a file": ([FILE, TO], ("POST", f"contents/{TO}", {"copy_from": FILE})),
    "copy a folder": ([SUB, DEEP, TO], ("POST", f"contents/{TO}", {"copy_from": SUB})),
}


# --- the files ------------------------------------------------------------------------------------
def fill(folder: Path, text: str) -> None:
    """Make the files, which have the same names in IN and OUTSIDE."""
    for path in ("sub/deep", "empty", ".ipynb_checkpoints"):
        (folder / path).mkdir(parents=True)
    for path in ("file.txt", "sub/deep/file.txt", ".ipynb_checkpoints/file-checkpoint.txt", "old.txt"):
        (folder / path).write_text(text)
    for path in ("book.ipynb", ".ipynb_checkpoints/book-checkpoint.ipynb"):
        (folder / path).write_text(json.dumps(notebook(text)))
    (folder / "hard.txt").hardlink_to(folder / "old.txt")
    (folder / "link.txt").symlink_to("file.txt")


def clear(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def prepare(paths: list[str]) -> list[tuple[str, Path]]:
    """Make the user's files again. Return what can be exchanged for what."""
    for folder in MINE:
        clear(folder)
    fill(HOME / IN, "mine")
    (HOME / TO).mkdir()
    exchanges = []
    for path in (IN, *paths):
        aside = HOME / ASIDE / path.replace("/", "-")
        aside.symlink_to(OUTSIDE / path.removeprefix(IN).removeprefix(TO).strip("/"))
        exchanges.append((path, aside))
        if Path(path).suffix and path != KEPT:
            pipe = aside.with_name(f"{aside.name}-pipe")
            os.mkfifo(pipe)
            exchanges.append((path, pipe))
    return exchanges


def prepare_outside() -> None:
    clear(OUTSIDE)
    fill(OUTSIDE, SECRET)
    (OUTSIDE / SECRET).touch()
    for path in (*OUTSIDE.rglob("*"), OUTSIDE):
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def outside() -> list[tuple[Any, ...]]:
    """Everything in OUTSIDE that an attack could change."""
    stats = {path: path.lstat() for path in (OUTSIDE, *sorted(OUTSIDE.rglob("*")))}
    return [
        (path.name, stat.st_mode, stat.st_mtime, stat.st_nlink, path.is_file() and path.read_bytes())
        for path, stat in stats.items()
    ]


def from_outside(folder: Path) -> bool:
    """Does `folder` contain a name, a date or text from OUTSIDE?"""
    for path in folder.rglob("*"):
        if path.name == SECRET or path.lstat().st_mtime == OLD:
            return True
        if path.is_file() and not path.is_symlink() and SECRET in path.read_text():
            return True
    return False


# --- attacks ----------------------------------------------------------------------------------------
def exchange(path: str, aside: Path) -> None:
    """Exchange `path` and `aside`, if no folder above is a link. If `path` does not exist, `aside` becomes `path`."""
    folder = os.open(HOME, os.O_PATH)
    *above, name = path.split("/")
    with contextlib.suppress(OSError):
        for part in above:
            inner = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        # 2 is RENAME_EXCHANGE.
        if libc.renameat2(folder, os.fsencode(name), -100, os.fsencode(aside), 2):
            libc.renameat2(-100, os.fsencode(aside), folder, os.fsencode(name), 0)
    os.close(folder)


class Calls:
    """Counts the calls to Linux that take a path, and attacks right before one of them."""

    def __init__(self) -> None:
        self.count, self.at, self.attack, self.active = 0, 0, print, False
        threading.setprofile(self.see)  # for threads that begin later
        sys.setprofile(self.see)

    def see(self, frame: Any, event: str, function: Any) -> None:
        if not self.active or event != "c_call" or function.__name__ in HARMLESS:
            return
        if function.__module__ == "posix" or (function.__module__, function.__name__) == ("_io", "open"):
            self.count += 1
            if self.count == self.at:
                self.active = False
                self.attack()

    @contextlib.contextmanager
    def attacked(self, at: int, attack: Callable[[], None]) -> Iterator[None]:
        self.count, self.at, self.attack, self.active = 0, at, attack, True
        try:
            yield
        finally:
            self.active = False


def attack_all_the_time(exchanges: list[tuple[str, Path]]) -> int:
    """Start another process that exchanges files until it is killed. Return its number."""
    if pid := os.fork():
        return pid
    while True:
        path, aside = random.choice(exchanges)
        for _ in range(2):
            exchange(path, aside)
            for _ in range(random.randrange(3000)):
                pass


@contextlib.contextmanager
def continuing(pid: int) -> Iterator[None]:
    """Let a stopped process run."""
    os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)


# --- operations -----------------------------------------------------------------------------------
async def answer(address: str, request: Request) -> str:
    """The status, the headers and the content of an answer."""
    method, path, body = request
    url = f"{address}{path if path.startswith('/') else f'/api/{path}'}"
    options = {"body": None if body is None else json.dumps(body), "allow_nonstandard_methods": True}
    headers = {"Authorization": f"token {TOKEN}"}
    try:
        done = await AsyncHTTPClient().fetch(url, method=method, headers=headers, raise_error=False, **options)
    except HTTPClientError as error:  # the connection ended, because the file had another size than before
        return str(error)
    return f"{done.code} {dict(done.headers)} {done.body.decode(errors='replace')}"


class Watchdog(threading.Thread):
    """After the deadline, opens and closes every named pipe, so that a server that waits for one continues.

    The server can then remove a file that is about to be opened. This must not end the watchdog.
    """

    deadline = math.inf

    def run(self) -> None:
        while True:
            time.sleep(0.1)
            if time.monotonic() > self.deadline:
                self.deadline = 0
                with contextlib.suppress(OSError):
                    for path in (path for folder in MINE for path in folder.rglob("*") if path.is_fifo()):
                        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


class Result:
    """The runs of one operation."""

    def __init__(self, address: str, watchdog: Watchdog, name: str) -> None:
        self.address, self.watchdog, (self.paths, *self.requests) = address, watchdog, OPERATIONS[name]
        self.runs, self.won = 0, set()

    async def run(self, how: str, during: contextlib.AbstractContextManager[None]) -> None:
        """Run the operation once, and look for something from OUTSIDE."""
        before, answers = outside(), ""
        self.watchdog.deadline = time.monotonic() + float(PATIENCE)
        with during:
            for request in self.requests:
                answers += await answer(self.address, request)
        blocked, self.watchdog.deadline = self.watchdog.deadline == 0, math.inf
        self.runs += 1
        lost = {
            "in the answer": any(text in answers for text in (SECRET, "2001-01", "Jan 2001")),
            "in a mount": any(map(from_outside, MINE)),
            "changed": outside() != before,
            "no answer": blocked,
        }
        self.won |= {f"{how}: {where}" for where, is_lost in lost.items() if is_lost}
        if lost["changed"]:
            prepare_outside()


async def each(result: Result, calls: Calls, runs: int) -> None:
    exchanges = prepare(result.paths)
    await result.run("no attack", calls.attacked(0, print))
    count, result.won = calls.count, set()
    step = max(1, count // runs)
    for number, (path, aside) in enumerate(exchanges):
        for at in range(1 + number % step, count + 1, step):
            prepare(result.paths)
            await result.run(aside.name, calls.attacked(at, lambda path=path, aside=aside: exchange(path, aside)))


async def chance(result: Result, runs: int) -> None:
    pid = attack_all_the_time(prepare(result.paths))
    try:
        with continuing(pid):
            pass
        for _ in range(runs):
            prepare(result.paths)
            await result.run("by chance", continuing(pid))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def main() -> None:
    app = ServerApp()
    app.initialize(["--ServerApp.jpserver_extensions={}", "--log-level=CRITICAL", *OPTIONS], new_httpserver=False)
    (socket,) = bind_sockets(0, "127.0.0.1")
    HTTPServer(app.web_app).add_socket(socket)
    address = f"http://127.0.0.1:{socket.getsockname()[1]}"
    prepare_outside()
    watchdog = Watchdog(daemon=True)
    watchdog.start()
    results = {name: Result(address, watchdog, name) for name in OPERATIONS}
    calls = Calls() if MODE == "each" else None
    for result in results.values():
        await (each(result, calls, int(NUMBER)) if calls else chance(result, int(NUMBER)))
    for folder in (*MINE, OUTSIDE):
        shutil.rmtree(folder)
    print(json.dumps({name: {"runs": result.runs, "won": sorted(result.won)} for name, result in results.items()}))


asyncio.run(main())
