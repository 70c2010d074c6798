"""A kernel fills what it can write to: the server goes on, and all is as before once that is deleted."""

from collections.abc import Iterator

import pytest

from tests.support.mutants import beside
from tests.support.probes import refusal
from tests.support.project import Project
from tools.notebook import execute, text

DISK = "/home/jovyan/data/disk"  # a small one, which stands for the host's
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
NO_ROOM = "No space left on device"
TEXT = {"type": "file", "format": "text", "content": "kept"}


@pytest.fixture(scope="module")
def twin(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    disk = {"services": {"lab": {"tmpfs": [f"{DISK}:size=8m,mode=1777"]}}}
    with beside(lab, tmp_path_factory.mktemp("full"), disk) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        yield twin
    (lab.folder / "data/disk").rmdir()


@pytest.mark.full
@pytest.mark.parametrize("folder", ["/tmp", "/home/jovyan", "/run/lab", "/run/try", DISK])
@pytest.mark.attack(
    "/tmp, home, /run/lab, /run/try or the disk filled to the last byte",
    "the server stays and saves elsewhere; what needs the room is refused, and works again once there is some",
)
def test_what_is_full_stops_nothing_else(twin: Project, folder: str) -> None:
    lab = twin.lab()
    with lab.kernel() as kernel:
        assert text(execute(kernel, f"folder = '{folder}'\n{FILL}")) == f"{NO_ROOM}\n"
        lab.request("PUT", "contents/data/kept.txt", json=TEXT)
        assert (twin.folder / "data/kept.txt").read_text() == "kept"
        lab.request("DELETE", "contents/data/kept.txt")
        on_disk = refusal(lab, "PUT", "contents/data/disk/a.txt", json=TEXT)
        another = refusal(lab, "POST", "kernels", json={"name": "python3"})
        assert (NO_ROOM in on_disk) is (folder == DISK)
        assert bool(another) is (folder == "/run/lab")  # where the server tells kernels what they need
        assert NO_ROOM in twin.logs() or folder not in (DISK, "/run/lab")
        execute(kernel, f"os.unlink('{folder}/ballast')")
    assert lab.run("print(1)") == "1\n"
    lab.request("PUT", "contents/data/disk/a.txt", json=TEXT)
    lab.request("DELETE", "contents/data/disk/a.txt")
    assert twin.container()["RestartCount"] == 0
