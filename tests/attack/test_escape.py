"""A hostile notebook tries to get more rights in the container, on the host, or at the next start."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import until

ATTEMPTS = Path(__file__).with_name("attempts.py").read_text(encoding="utf-8")
REFUSED = {"EPERM", "EACCES", "EROFS"}
Results = dict[str, str | None]


@pytest.fixture(scope="module")
def results(lab: Project) -> Results:
    """The result of each attempt, made by a notebook kernel of the shared lab."""
    program = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-"], input={ATTEMPTS!r}, text=True, capture_output=True, check=True).stdout)
"""
    return json.loads(lab.client().run(program))


@pytest.mark.attack(
    "Call mount, chroot, mknod, setuid, chown to root, raw sockets, new namespaces, bpf, io_uring, perf and "
    "userfaultfd. Write to the image, to the token and to the settings of the Linux kernel",
    "The Linux kernel refuses each attempt.",
)
def test_every_attempt_is_refused(results: Results) -> None:
    assert {name: result for name, result in results.items() if result not in REFUSED | {"ENOENT"}} == {}


def test_missing_paths_are_also_missing_in_a_privileged_container(results: Results, privileged: Results) -> None:
    """A control: an error ENOENT proves no refusal, so the path must be missing in a privileged container too."""
    missing = {name for name, result in results.items() if result == "ENOENT"}
    assert missing <= {name for name, result in privileged.items() if result == "ENOENT"}


@pytest.fixture(scope="module")
def privileged(lab: Project) -> Results:
    """The same in a privileged container of the same image."""
    image = lab.container()["Image"]
    command = ("docker", "run", "--rm", "--privileged", "--user", "0:0", "--interactive", "--entrypoint", "python")
    mount = ("--tmpfs", "/run/lab", "--volume", f"{lab.folder / 'secrets'}:/run/secrets")
    return json.loads(lab.run(*command, *mount, image, "-", input=ATTEMPTS).stdout)


def test_the_attempts_are_real(results: Results, privileged: Results) -> None:
    """The control: in a privileged container, no attempt is refused. So the lab causes the refusals."""
    assert {name: result for name, result in privileged.items() if result in REFUSED} == {}
    assert results.keys() == privileged.keys()


BOMB = """
import os, pathlib, signal, time
children, flag = [], pathlib.Path.home() / "data/bombed"
try:
    while len(children) < 5000:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except OSError as error:
    print(type(error).__name__, len(children) < 512)
flag.touch()
while flag.exists():
    time.sleep(0.1)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.full
@pytest.mark.attack("Start a fork bomb", "The bomb stops at the process limit. The server and other labs keep running.")
def test_a_fork_bomb_stops_at_the_process_limit(lab: Project, tmp_path: Path) -> None:
    flag = lab.folder / "data/bombed"
    with beside(lab, tmp_path) as twin, ThreadPoolExecutor() as pool:
        twin.serve()
        bombed = pool.submit(twin.client().run, BOMB)
        try:
            until(flag.exists, "the bomb reached the limit")
            assert twin.client().request("GET", "status").status_code == 200
            assert lab.client().run("print(1)") == "1\n"
        finally:
            flag.unlink(missing_ok=True)
        assert bombed.result().endswith("BlockingIOError True\n")
        assert twin.client().run("print(1)") == "1\n"
        assert twin.container()["RestartCount"] == 0
