"""A save that is cut short, by a crash or a full disk, loses nothing; and what a file is, it stays."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.project import Project

SCRIPT = Path(__file__).with_name("kill_while_saving.py").read_text(encoding="utf-8")
TEXT = {"type": "file", "format": "text", "content": "new"}


def killed(lab: Project, times: int, *options: str) -> dict[str, int]:
    """How often an old, a new and a broken notebook was found after a server was killed while saving it."""
    command = ("exec", "--no-TTY", "lab", "python", "-", str(times), *options)
    done = lab.run("docker", "compose", *command, input=SCRIPT)
    return json.loads(done.stdout)


@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.full)])
def test_a_killed_server_leaves_the_old_or_the_new_notebook(fresh_lab: Project, times: int) -> None:
    counts = killed(fresh_lab, times)
    assert counts["broken"] == 0
    assert counts["old"] + counts["new"] == times
    assert counts["old"] > 0, "every kill came too late to prove anything"


def test_jupyters_own_way_does_not(fresh_lab: Project) -> None:
    """The control: the same kills find truncated notebooks with the file manager that Jupyter brings."""
    stock = "--ServerApp.contents_manager_class=jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"
    assert killed(fresh_lab, 12, stock)["broken"] > 0


def test_a_full_disk_leaves_the_old_file_and_the_browser_is_told(fresh_project: Project) -> None:
    override = "services: {lab: {tmpfs: ['/home/jovyan/data/small:size=8m,mode=1777']}}\n"
    (fresh_project.folder / "compose.override.yaml").write_text(override)
    lab = fresh_project.up()
    lab.request("PUT", "contents/data/small/kept.txt", json={**TEXT, "content": "old" * 1_000_000})
    with pytest.raises(requests.HTTPError) as refused:
        lab.request("PUT", "contents/data/small/kept.txt", json={**TEXT, "content": "new" * 2_000_000})
    assert refused.value.response.status_code == 500
    assert "No space left on device" in refused.value.response.json()["message"]
    model = lab.request("GET", "contents/data/small/kept.txt").json()
    assert model["content"] == "old" * 1_000_000
    names = lab.run("import os; print(os.listdir(os.path.expanduser('~/data/small')))")
    assert names == "['kept.txt']\n"  # and nothing half-written takes up the room
    lab.request("PUT", "contents/data/small/kept.txt", json=TEXT)  # a smaller one fits: the lab goes on


def test_two_saves_at_once_leave_one_of_them_whole(lab: Project) -> None:
    def save(letter: str) -> None:
        lab.lab().request("PUT", "contents/data/both.txt", json={**TEXT, "content": letter * 3_000_000})

    path = lab.folder / "data/both.txt"
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            list(pool.map(save, "abcd"))
            assert path.read_text() in {letter * 3_000_000 for letter in "abcd"}
    path.unlink()
    assert not list(path.parent.glob(".~*"))


class TestWhatAFileIs:
    """Each test saves over a file of the host's and looks at it there."""

    @pytest.fixture
    def file(self, lab: Project) -> Any:
        path = lab.folder / "data/file.txt"
        path.write_text("old")
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        yield path
        for left in path.parent.glob("*.txt"):
            left.unlink()

    def save(self, lab: Project, name: str = "file.txt") -> None:
        lab.lab().request("PUT", f"contents/data/{name}", json=TEXT)

    def in_place(self, lab: Project) -> bool:
        return ".txt in place" in lab.compose("logs", "--no-log-prefix", "--tail", "3", "lab").stdout

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
    def test_its_mode_is_kept(self, lab: Project, file: Path, mode: int) -> None:
        file.chmod(mode)
        before = file.stat().st_ino
        self.save(lab)
        assert file.read_text() == "new"
        assert file.stat().st_mode & 0o7777 == mode
        assert file.stat().st_ino != before, "it was rewritten in place"
        assert not self.in_place(lab)

    def test_a_hard_link_stays_one_and_the_log_says_so(self, lab: Project, file: Path) -> None:
        os.link(file, other := file.with_name("other.txt"))
        self.save(lab)
        assert other.read_text() == "new" and other.samefile(file)
        assert self.in_place(lab)

    def test_a_symbolic_link_stays_one(self, lab: Project, file: Path) -> None:
        file.with_name("link.txt").symlink_to("file.txt")
        self.save(lab, "link.txt")
        assert file.read_text() == "new" and file.with_name("link.txt").is_symlink()
        assert self.in_place(lab)

    def test_a_foreign_owner_stays_the_owner(self, lab: Project, file: Path) -> None:
        if os.geteuid():
            pytest.skip("only root can give a file to somebody else")
        os.chown(file, 4321, 4322)
        file.chmod(0o666)
        self.save(lab)
        assert file.read_text() == "new"
        assert (file.stat().st_uid, file.stat().st_gid) == (4321, 4322)
        assert self.in_place(lab)

    def test_a_read_only_file_is_refused(self, lab: Project, file: Path) -> None:
        file.chmod(0o444)
        with pytest.raises(requests.HTTPError, match="403"):
            self.save(lab)
        assert file.read_text() == "old"

    def test_its_name_may_be_as_long_as_the_file_system_takes(self, lab: Project, file: Path) -> None:
        name = f"{'ß' * 125}x.txt"  # 255 bytes
        for _ in range(2):
            self.save(lab, name)
        assert file.with_name(name).read_text() == "new"

    def test_what_a_crash_left_is_cleared_away(self, lab: Project, file: Path) -> None:
        left = file.with_name(".~file.txt.0a1b2c3d.saving")
        left.write_text("half")
        owner = file.stat()
        os.chown(left, owner.st_uid, owner.st_gid)
        self.save(lab)
        assert not left.exists()
        assert [path.name for path in file.parent.iterdir() if path.name.startswith(".~")] == []
