"""A notebook kernel tries to use all memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import pytest
import requests
from jupyter_kernel_client import KernelWebSocketClient

from tests.support.project import Project
from tests.support.variants import beside, one_container, with_server
from tests.support.waiting import until
from tools.notebook import execute, text

KERNEL = "kernels/python3/kernel.json"
# If a program asks for memory in the milliseconds in which Linux takes a large kernel's memory back, Linux can end a
# second kernel: the first one is no longer in its list of programs. So no health check runs then.
RARE_CHECKS = {"services": {"lab": {"healthcheck": {"interval": "1h"}}}}
GUARD = '"choom", "-n", "1000",'
HOG = "held = []\nwhile True: held.append(bytearray(16_000_000))"
# Each worker is larger than a kernel and smaller than the server. By size alone, the server would end first.
POOL = """
import os, re, subprocess, sys
held = lambda pid: int(re.search(r"VmRSS:\\s+(\\d+)", open(f"/proc/{pid}/status").read())[1]) * 1024
size = (held(os.getppid()) + held("self")) // 2 - 8_000_000  # minus the size of Python itself
code = f"import sys; held = b'x' * {size}; print(flush=True); sys.stdin.read()"
workers = []
while all(worker.poll() is None for worker in workers):
    workers.append(subprocess.Popen([sys.executable, "-ISc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    workers[-1].stdout.readline()
print([worker.returncode for worker in workers if worker.returncode])
for worker in workers:
    worker.kill()
"""


@contextmanager
def small(lab: Project, folder: Path) -> Iterator[Project]:
    """A copy of the shared lab with little memory."""
    with beside(lab, folder, RARE_CHECKS, LAB_MEMORY="512m") as twin:
        twin.serve()
        yield twin


@contextmanager
def small_and_alone(lab: Project, folder: Path, guarded: bool = True) -> Iterator[Project]:
    """The same, with server and notebooks in one container, which share its memory."""
    kernel = lab.read(f"lab/server/{KERNEL}")
    assert GUARD in kernel
    changed = with_server(lab, folder, KERNEL, kernel if guarded else kernel.replace(GUARD, GUARD.replace("1000", "0")))
    alone = {"services": {"server": one_container(lab) | {"mem_limit": "512m", "memswap_limit": "512m"}}}
    with beside(lab, folder, changed, alone, LAB_MEMORY="512m") as twin:
        twin.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "server")
        yield twin


@pytest.mark.attack(
    "Use all memory in one notebook kernel",
    "This kernel ends, and restarts. The cell, the log and `make doctor` say why. Others almost always go on.",
)
def test_a_kernel_that_takes_all_memory_ends_alone(lab: Project, tmp_path: Path) -> None:
    with small(lab, tmp_path) as twin, twin.client().kernel() as other, twin.client().kernel() as hog:
        execute(other, "kept = 42")
        hog.execute("import os; os.kill(os.getpid(), 9)")
        assert restarts(hog) == {}, "the control: this kernel ends for another reason"
        said = "memory was full, so Linux ended {}. LAB_MEMORY is 512m. Load less data at once"
        cell = hog.execute(HOG)
        assert said.format("this notebook kernel") in restarts(hog)[cell]
        with twin.client().kernel() as young:
            cell = young.execute(HOG)
            assert said.format("this notebook kernel") in restarts(young)[cell]
        assert re.search(said.format("the notebook kernel [0-9a-f-]{36}"), twin.logs())
        note = (
            "note  memory was full: since the lab started, Linux ended 2 of the lab's programs. LAB_MEMORY is '512m'."
        )
        assert note in twin.make("doctor", check=False).stdout
        assert text(execute(hog, "print('held' in globals())")) == "False\n"
        assert text(execute(other, "print(kept)")) == "42\n"
        assert twin.container()["RestartCount"] == 0


def ends(kernel: KernelWebSocketClient) -> dict[str, str]:
    """Wait until the server tells the browser that the kernel died and restarts. Return what each cell printed."""
    printed: dict[str, str] = {}
    while (message := kernel.get_iopub_msg(timeout=60))["content"].get("execution_state") != "restarting":
        if message["msg_type"] == "stream":
            cell = message["parent_header"]["msg_id"]
            printed[cell] = printed.get(cell, "") + message["content"]["text"]
    return printed


def restarts(kernel: KernelWebSocketClient) -> dict[str, str]:
    """Wait until the kernel died and answers again. Return what each cell printed."""
    printed = ends(kernel)

    def answers() -> bool:
        """Ask the kernel again: messages are lost until the server listens, so browsers repeat the question."""
        try:
            kernel.execute_interactive("", timeout=2)
        except TimeoutError:
            return False
        return True

    until(answers, "the kernel is back")
    return printed


@pytest.mark.full
@pytest.mark.attack(
    "Use all memory of a lab in one container with many processes, each smaller than the server",
    "One of these processes ends, not the server.",
)
def test_a_pool_of_workers_ends_before_the_server(lab: Project, tmp_path: Path) -> None:
    with small_and_alone(lab, tmp_path) as twin:
        with twin.client().kernel() as pool:
            assert text(execute(pool, POOL)) == "[-9]\n"
            until(lambda: "memory was full, so Linux ended a program." in twin.logs(), "the log says it")
        assert twin.container("server")["RestartCount"] == 0


SLOW = {  # what happens later than usual: a piece of memory.py, and what takes its place
    "an answer": ("self.note(await state())", "self.counts or self.note(await state())"),
    "the end": ("await super().poll()", "if self.counts[-1] == 0 or self.counts[-4:-3] == [1]: await super().poll()"),
}


@pytest.mark.full
@pytest.mark.parametrize("what", SLOW)
def test_the_reason_is_found_while_memory_is_full(lab: Project, tmp_path: Path, what: str) -> None:
    """The control of a slow machine: the first answer of a check is old, or the kernel still runs for four checks."""
    checks = lab.read("lab/server/memory.py")
    assert checks.count(SLOW[what][0]) == 1
    layer = with_server(lab, tmp_path, "memory.py", checks.replace(*SLOW[what]))
    with beside(lab, tmp_path, layer, LAB_MEMORY="512m") as twin:
        twin.serve()
        with twin.client().kernel() as hog:
            cell = hog.execute(HOG)
            assert "memory was full, so Linux ended this notebook kernel." in restarts(hog)[cell]


@pytest.mark.full
def test_make_run_says_which_notebook_used_all_memory(lab: Project, tmp_path: Path) -> None:
    """The control: the notebook before it fails for another reason."""
    sources = {"1-fails": "1 / 0", "2-hog": HOG}
    files = [lab.folder / f"notebooks/{name}.ipynb" for name in sources]
    for file, source in zip(files, sources.values(), strict=True):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), file)
    try:
        with small(lab, tmp_path) as twin:
            said = twin.make("run", check=False).stdout
    finally:
        for file in files:
            file.unlink()
    assert "FAIL  notebooks/1-fails.ipynb" in said
    (line,) = (line for line in said.splitlines() if line.startswith("labdock: "))
    assert line.startswith("labdock: memory was full while notebooks/2-hog.ipynb ran, so Linux ended a program.")


@pytest.mark.nightly
def test_without_the_guard_the_server_is_the_first_to_end(lab: Project, tmp_path: Path) -> None:
    """The control: with equal ranks, the largest process ends."""
    with (
        small_and_alone(lab, tmp_path, guarded=False) as twin,
        suppress(requests.RequestException),
        twin.client().kernel() as pool,
    ):
        pool.execute(POOL)
        until(lambda: twin.container("server")["RestartCount"] > 0, "the server ended")


# One message of 300 MB to the server, which the notebook makes in a small part of this memory.
MESSAGE = """
from IPython.display import display
display({"text/plain": "x" * 300_000_000}, raw=True)
"""
MOST = "zmq.MAXMSGSIZE, LARGEST"


def peak(lab: Project) -> int:
    """The most memory that the server used since its start, in MiB."""
    status = lab.shell("grep -h VmHWM /proc/$(pgrep -f 'python -I -m jupyterlab' | head -1)/status", "server")
    return int(status.split()[1]) >> 10


@pytest.mark.full
@pytest.mark.parametrize("limited", [True, False], ids=["as delivered", "the control: messages of every size"])
@pytest.mark.attack("Send a message of 300 MB to the server", "The server does not read it. Its memory stays low.")
def test_a_message_that_is_too_long_is_not_read(lab: Project, tmp_path: Path, limited: bool) -> None:
    text = lab.read("lab/server/messages.py")
    assert MOST in text
    layer = with_server(lab, tmp_path, "messages.py", text if limited else text.replace(MOST, "zmq.MAXMSGSIZE, -1"))
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        before = peak(twin)
        with twin.client().kernel() as kernel:
            execute(kernel, "import pathlib; sent = pathlib.Path.home() / 'data/sent'")
            kernel.execute(f"{MESSAGE}\nsent.touch()")
            until((twin.folder / "data/sent").exists, "the message is sent")
            (twin.folder / "data/sent").unlink()
            if not limited:
                until(lambda: peak(twin) > before + 250, "the server read the message")
        assert twin.client().run("print(1)") == "1\n"
        assert (peak(twin) < before + 250) is limited
        assert twin.container("server")["RestartCount"] == 0
