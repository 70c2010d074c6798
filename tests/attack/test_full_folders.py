"""A notebook kernel tries to fill every folder that it can write."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.attack.test_memory import ends
from tests.support.project import Project
from tests.support.server_probes import refusal
from tests.support.variants import beside
from tools.notebook import execute, text

DISK = "/home/jovyan/data/disk"  # a small file system in place of the host's disk
KEPT, CACHE = "/var/lib/lab", "/var/cache/lab"  # volumes, here small file systems too
FILL = """
import os
with open(f"{folder}/ballast", "wb", buffering=0) as file:
    for piece in (bytes(1 << 20), b"x"):  # to the last byte
        try:
            while True:
                file.write(piece)
        except OSError as error:
            full = os.strerror(error.errno)
print(full)
"""
# No further file or socket can be made either.
USE_UP = """
import itertools
try:
    for number in itertools.count():
        open(f"{folder}/file-{number}", "x").close()
except OSError as error:
    print(os.strerror(error.errno), number > 1000)
"""
HOME = "/home/jovyan"
SOCKETS = "/run/kernels"
IN_MEMORY = ["/tmp", HOME, "/run/lab"]
NO_ROOM = "No space left on device"
TEXT = {"type": "file", "format": "text", "content": "kept"}


@pytest.fixture(scope="module")
def twin(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    small = [{"type": "tmpfs", "target": path, "tmpfs": {"size": "8m", "mode": 0o1777}} for path in (KEPT, CACHE)]
    disk = {"type": "volume", "source": "disk", "target": DISK}  # one file system for both containers
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=8m,mode=1777"}
    layer = {
        "services": {"lab": {"volumes": [*small, disk]}, "server": {"volumes": [disk]}},
        "volumes": {"disk": {"driver_opts": options}},
    }
    with beside(lab, tmp_path_factory.mktemp("full"), layer) as twin:
        twin.serve()
        yield twin
    (lab.folder / "data/disk").rmdir()


@pytest.mark.full
@pytest.mark.parametrize(
    "folder",
    ["/run/lab", SOCKETS, CACHE, DISK, *(pytest.param(f, marks=pytest.mark.nightly) for f in ("/tmp", HOME, KEPT))],
)
@pytest.mark.attack(
    "Fill /tmp, home, /run/lab, /run/kernels, /var/lib/lab, /var/cache/lab or the disk to the last byte",
    "The server keeps running and saves files in other folders. Writes to the full folder fail until files are "
    "deleted.",
)
def test_a_full_folder_does_not_stop_the_server(twin: Project, folder: str) -> None:
    lab = twin.client()
    with lab.kernel() as kernel:
        printed = text(execute(kernel, f"folder = '{folder}'\n{FILL}"))
        assert NO_ROOM in printed.splitlines()  # IPython may also report that it cannot write its history
        if folder == SOCKETS:
            assert text(execute(kernel, USE_UP)) == f"{NO_ROOM} True\n"
        lab.request("PUT", "contents/data/kept.txt", json=TEXT)
        assert (twin.folder / "data/kept.txt").read_text() == "kept"
        lab.request("DELETE", "contents/data/kept.txt")
        on_disk = refusal(lab, "PUT", "contents/data/disk/a.txt", json=TEXT)
        another = refusal(lab, "POST", "kernels", json={"name": "python3"})
        assert (NO_ROOM in on_disk) is (folder == DISK)
        assert ("is full, so no notebook can start" in another) is (folder in ("/run/lab", SOCKETS))
        assert NO_ROOM in twin.logs() or folder != DISK
        execute(
            kernel,
            f"import glob\nfor file in glob.glob('{folder}/ballast') + glob.glob('{folder}/file-*'): os.unlink(file)",
        )
    assert lab.run("print(1)") == "1\n"
    lab.request("PUT", "contents/data/disk/a.txt", json=TEXT)
    lab.request("DELETE", "contents/data/disk/a.txt")
    assert [twin.container(name)["RestartCount"] for name in ("server", "lab")] == [0, 0]


@pytest.mark.full
@pytest.mark.attack(
    "Fill all folders in memory at the same time: /tmp, home and /run/lab",
    "The server keeps running and saves files. The full folders work again after files are deleted.",
)
def test_full_folders_in_memory_do_not_stop_the_server(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        running = twin.client()
        with running.kernel() as kernel:
            for folder in IN_MEMORY:
                assert NO_ROOM in text(execute(kernel, f"folder = '{folder}'\n{FILL}")).splitlines()
            running.request("PUT", "contents/data/kept.txt", json=TEXT)
            assert (twin.folder / "data/kept.txt").read_text() == "kept"
            running.request("DELETE", "contents/data/kept.txt")
            execute(kernel, f"for folder in {IN_MEMORY}: os.unlink(f'{{folder}}/ballast')")
        assert running.run("print(1)") == "1\n"
        assert twin.container()["RestartCount"] == 0


@pytest.mark.full
def test_more_than_the_memory_ends_the_kernel(lab: Project, tmp_path: Path) -> None:
    """The control: files in these folders use memory. With less memory, not even a new kernel has room."""
    with beside(lab, tmp_path, LAB_MEMORY="512m") as twin:
        twin.serve()
        ended = False
        with suppress(requests.RequestException), twin.client().kernel() as kernel:  # its shutdown fails then
            kernel.execute(f"folder = '/tmp'\n{FILL}")
            ends(kernel)
            ended = True
        assert ended
