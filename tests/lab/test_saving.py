"""A save that is interrupted, by a crash or a full disk, loses nothing. A file keeps its mode, owner and links."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.project import Project
from tests.support.refusal import only_root
from tests.support.server_probes import refusal
from tests.support.variants import beside, with_server

SCRIPT = Path(__file__).with_name("kill_while_saving.py").read_text(encoding="utf-8")
RECORD = Path(__file__).with_name("save_and_record.py").read_text(encoding="utf-8")
TEXT = {"type": "file", "format": "text", "content": "new"}


def killed(lab: Project, times: int, *options: str) -> dict[str, int]:
    """How often the old, the new and a broken notebook was found after a server was killed during a save."""
    command = ("exec", "--no-TTY", "server", "python", "-", str(times), *options)
    done = lab.run("docker", "compose", *command, input=SCRIPT)
    return json.loads(done.stdout)


@pytest.mark.parametrize("times", [4, pytest.param(100, marks=pytest.mark.nightly)])
def test_a_killed_server_leaves_the_old_or_the_new_notebook(fresh_lab: Project, times: int) -> None:
    counts = killed(fresh_lab, times)
    assert counts["broken"] == 0
    assert counts["old"] + counts["new"] == times
    assert counts["old"] > 0, "every kill came too late to prove anything"


@pytest.mark.full
def test_control_a_killed_stock_server_leaves_broken_notebooks(fresh_lab: Project) -> None:
    """The control: with Jupyter's own file manager, the same kills leave truncated notebooks."""
    stock = "--ServerApp.contents_manager_class=jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"
    assert killed(fresh_lab, 12, stock)["broken"] > 0


# --- after a power failure -----------------------------------------------------------------
SAFE = [["fsync", "the new file"], ["replace", "the new file", "the file"], ["fsync", "the folder"]]


def steps(lab: Project, source: str | None = None) -> list[list[str]]:
    """The steps of a save, with saving.py of the image or with another text `source`."""
    command = ("exec", "--no-TTY", "server", "/opt/jupyter/bin/python", "-I", "-")
    done = lab.run("docker", "compose", *command, input=f"SOURCE = {source!r}\n{RECORD}")
    return json.loads(done.stdout)


def test_a_save_is_on_disk_before_it_replaces_the_old_file(lab: Project) -> None:
    assert steps(lab) == SAFE


@pytest.mark.parametrize("line", ["os.fsync(number)", "os.fsync(folder)"])
def test_a_removed_step_is_noticed(lab: Project, line: str) -> None:
    source = lab.read("lab/server/saving.py")
    assert source.count(line) == 1
    assert steps(lab, source) == SAFE
    assert steps(lab, source.replace(line, "pass")) != SAFE


# --- after a full disk ---------------------------------------------------------------------------
@pytest.mark.full
def test_a_full_disk_leaves_the_old_file_and_the_browser_is_told(fresh_project: Project) -> None:
    override = "services: {server: {tmpfs: ['/home/jovyan/data/small:size=8m,mode=1777']}}\n"
    (fresh_project.folder / "compose.override.yaml").write_text(override)
    lab = fresh_project.up()
    lab.request("PUT", "contents/data/small/kept.txt", json={**TEXT, "content": "old" * 1_000_000})
    with pytest.raises(requests.HTTPError) as refused:
        lab.request("PUT", "contents/data/small/kept.txt", json={**TEXT, "content": "new" * 2_000_000})
    assert refused.value.response.status_code == 500
    assert "No space left on device" in refused.value.response.json()["message"]
    model = lab.request("GET", "contents/data/small/kept.txt").json()
    assert model["content"] == "old" * 1_000_000
    assert (
        fresh_project.shell("ls -A ~/data/small", "server") == "kept.txt\n"
    )  # and no half-written file uses the space
    lab.request("PUT", "contents/data/small/kept.txt", json=TEXT)  # a smaller file fits: the lab still works


def test_a_mount_cannot_be_moved_or_deleted(lab: Project) -> None:
    """Jupyter would copy the files of the mount, and delete them here."""
    running = lab.client()
    running.request("PUT", "contents/data/kept.txt", json={"type": "file", "format": "text", "content": "kept"})
    for method, path, model in (
        ("PATCH", "data", {"path": "notebooks/data"}),
        ("PATCH", "notebooks", {"path": "data/notebooks"}),
        ("DELETE", "data", None),
    ):
        said = refusal(running, method, f"contents/{path}", json=model)
        assert said == f"'{path}' is a mount and cannot be moved or deleted. Move or delete the files in it."
    assert (lab.folder / "data/kept.txt").read_text() == "kept"
    assert not (lab.folder / "notebooks/data").exists()
    running.request("DELETE", "contents/data/kept.txt")


def test_two_saves_at_once_leave_one_of_them_whole(lab: Project) -> None:
    def save(letter: str) -> None:
        lab.client().request("PUT", "contents/data/both.txt", json={**TEXT, "content": letter * 3_000_000})

    path = lab.folder / "data/both.txt"
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            list(pool.map(save, "abcd"))
            assert path.read_text() in {letter * 3_000_000 for letter in "abcd"}
    path.unlink()
    assert not list(path.parent.glob(".~*"))


ORIGIN = "user.origin"


def mark(file: Path) -> None:
    """Give a file an extended attribute."""
    try:
        os.setxattr(file, ORIGIN, b"here")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip(f"the file system of {file.parent} has no extended attributes")


def mounted(file: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of `file` outside the project, and a layer that mounts this single file as data/mounted.txt."""
    alone = Path(shutil.copy2(file, folder))
    os.chown(alone, file.stat().st_uid, file.stat().st_gid)
    return alone, {"services": {"server": {"volumes": [f"{alone}:/home/jovyan/data/mounted.txt"]}}}


class TestWhatAFileIs:
    """Each test saves over a file of the host, and then looks at the file on the host."""

    @pytest.fixture
    def file(self, lab: Project) -> Any:
        path = lab.folder / "data/file.txt"
        path.write_text("old")
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        yield path
        for left in path.parent.glob("*.txt"):
            left.unlink()

    @pytest.fixture
    def closed(self, file: Path) -> Iterator[Path]:
        """A copy of the file in a read-only folder."""
        folder = file.with_name("closed")
        folder.mkdir()
        closed = Path(shutil.copy2(file, folder))
        for path in (folder, closed):
            os.chown(path, file.stat().st_uid, file.stat().st_gid)
        folder.chmod(0o555)
        yield closed
        folder.chmod(0o755)
        shutil.rmtree(folder)

    def save(self, lab: Project, name: str = "file.txt") -> None:
        lab.client().request("PUT", f"contents/data/{name}", json=TEXT)

    def in_place(self, lab: Project) -> bool:
        return ".txt directly" in lab.compose("logs", "--no-log-prefix", "--tail", "3", "server").stdout

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
    def test_its_mode_is_kept(self, lab: Project, file: Path, mode: int) -> None:
        file.chmod(mode)
        before = file.stat().st_ino
        self.save(lab)
        assert file.read_text() == "new"
        assert file.stat().st_mode & 0o7777 == mode
        assert file.stat().st_ino != before, "it was overwritten"
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
        only_root()
        os.chown(file, 4321, 4322)
        file.chmod(0o666)
        self.save(lab)
        assert file.read_text() == "new"
        assert (file.stat().st_uid, file.stat().st_gid) == (4321, 4322)
        assert self.in_place(lab)

    def test_extended_attributes_are_kept(self, lab: Project, file: Path) -> None:
        mark(file)
        self.save(lab)
        assert file.read_text() == "new" and os.getxattr(file, ORIGIN) == b"here"
        assert self.in_place(lab)

    def test_a_file_in_a_folder_that_cannot_be_written(self, lab: Project, closed: Path) -> None:
        self.save(lab, "closed/file.txt")
        assert closed.read_text() == "new"
        assert self.in_place(lab)

    def test_a_file_that_is_a_mount_of_its_own(self, lab: Project, file: Path, tmp_path: Path) -> None:
        """A mounted file cannot be replaced. The server learns this only when the attempt fails."""
        alone, layer = mounted(file, tmp_path)
        with beside(lab, tmp_path, layer) as twin:
            twin.serve()
            self.save(twin, "mounted.txt")
            assert alone.read_text() == "new"
            assert self.in_place(twin)
        assert [path.name for path in file.parent.iterdir() if path.name.startswith(".~")] == []

    @pytest.mark.full
    def test_control_without_these_checks_files_lose_their_properties(
        self, lab: Project, file: Path, closed: Path, tmp_path: Path
    ) -> None:
        """The control: a file manager that replaces every file."""
        saving, check = lab.read("lab/server/saving.py"), "def cannot_replace(path):\n"
        for old, new in ((check, f"{check}    return None\n"), ("errno.EBUSY, ", "")):
            assert old in saving
            saving = saving.replace(old, new)
        alone, layer = mounted(file, tmp_path)
        with beside(lab, tmp_path, with_server(lab, tmp_path, "saving.py", saving), layer) as twin:
            twin.serve()
            os.link(file, other := file.with_name("other.txt"))
            self.save(twin)
            assert (file.read_text(), other.read_text()) == ("new", "old")
            (link := file.with_name("link.txt")).symlink_to("file.txt")
            self.save(twin, link.name)
            assert not link.is_symlink()
            for path in (closed, alone):
                with pytest.raises(requests.HTTPError):
                    self.save(twin, "closed/file.txt" if path == closed else "mounted.txt")
                assert path.read_text() == "old"
            only_root()
            os.chown(file, 4321, 4322)
            file.chmod(0o666)
            self.save(twin)
            assert (file.stat().st_uid, file.stat().st_gid) != (4321, 4322)
            mark(file)
            self.save(twin)
            assert os.listxattr(file) == []

    def test_a_read_only_file_is_refused(self, lab: Project, file: Path) -> None:
        file.chmod(0o444)
        with pytest.raises(requests.HTTPError, match="403"):
            self.save(lab)
        assert file.read_text() == "old"

    def test_its_name_may_be_as_long_as_the_file_system_allows(self, lab: Project, file: Path) -> None:
        name = f"{'ß' * 125}x.txt"  # 255 bytes
        for _ in range(2):
            self.save(lab, name)
        assert file.with_name(name).read_text() == "new"

    def test_files_that_a_crash_left_are_deleted(self, lab: Project, file: Path) -> None:
        left = file.with_name(".~file.txt.0a1b2c3d.saving")
        left.write_text("half")
        owner = file.stat()
        os.chown(left, owner.st_uid, owner.st_gid)
        self.save(lab)
        assert not left.exists()
        assert [path.name for path in file.parent.iterdir() if path.name.startswith(".~")] == []
