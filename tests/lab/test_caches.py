"""Caches, temporary files and tried packages are on the disk. Caches survive a restart; the rest does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_ids import become
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until

VOLUME = "/var/cache/lab"
# Where programs of the lab put a file that they make themselves.
CHOSEN = """
import json, os, pathlib, tempfile, matplotlib, sklearn.datasets
from joblib._memmapping_reducer import _get_temp_dir
chosen = {
    "tempfile": tempfile.gettempdir(), "joblib": _get_temp_dir("pool")[0], "matplotlib": matplotlib.get_cachedir(),
    "scikit-learn": sklearn.datasets.get_data_home(), "~/.cache": pathlib.Path.home() / ".cache",
    **{name: os.environ[name] for name in ("DASK_TEMPORARY_DIRECTORY", "NLTK_DATA", "TORCHINDUCTOR_CACHE_DIR")},
}
print(json.dumps({name: os.path.realpath(path) for name, path in chosen.items()}))
"""
TEMPORARY = {"tempfile", "joblib", "DASK_TEMPORARY_DIRECTORY"}
# torch.compile and numba load code that they compiled.
RUN = """
import os, shutil, subprocess
for folder in ("/run/lab/tmp", os.path.expanduser("~/.cache")):
    program = shutil.copy("/bin/echo", f"{folder}/program")
    print(subprocess.run([program, "ran"], capture_output=True, text=True).stdout, end="")
    os.unlink(program)
"""
MARKS = ("/run/lab/cache/mark", "/run/lab/tmp/closed/mark", "/run/lab/try/mark")
LEAVE = f"""
import os, pathlib
for mark in {MARKS}:
    pathlib.Path(mark).parent.mkdir(exist_ok=True)
    pathlib.Path(mark).write_text("")
os.chmod("/run/lab/tmp/closed", 0o500)  # nobody can empty this folder before its mode changes
"""


def found(project: Project) -> list[str]:
    return json.loads(
        project.client().run(f"import json, os; print(json.dumps([m for m in {MARKS} if os.path.exists(m)]))")
    )


def left_over(project: Project) -> bool:
    """Whether files of the last start still wait for their deletion."""
    return "old." in project.shell(f"ls {VOLUME}/$(id -u)")


def test_programs_put_caches_and_temporary_files_on_the_disk(lab: Project) -> None:
    chosen = json.loads(lab.client().run(CHOSEN))
    top = f"{VOLUME}/{lab.shell('id -u').strip()}"
    assert {
        name: path.startswith(f"{top}/tmp" if name in TEMPORARY else f"{top}/cache") for name, path in chosen.items()
    } == (dict.fromkeys(chosen, True))
    modes = lab.shell(f"stat -c %a {top} {top}/tmp {top}/cache").split()
    assert [mode[-3:] for mode in modes] == ["700"] * 3, modes  # jupyter_client may add the sticky bit (1700)
    assert lab.client().run(RUN) == "ran\n" * 2
    assert lab.shell(f"stat -f -c %T {top}").strip() != "tmpfs"


@pytest.mark.full
def test_caches_survive_a_restart_until_a_reset(fresh_lab: Project) -> None:
    fresh_lab.client().run(LEAVE)
    assert found(fresh_lab) == list(MARKS)  # the control
    fresh_lab.compose("restart", "--timeout", "2", "lab")
    fresh_lab.serve()
    assert found(fresh_lab) == list(MARKS[:1])
    until(lambda: not left_over(fresh_lab), "the files of the last start are deleted")
    assert (
        " on the disk. To delete all caches, run 'docker compose exec lab find "
        in fresh_lab.make("doctor", check=False).stdout
    )
    become(fresh_lab, "9999:9999")
    assert found(fresh_lab) == []
    become(fresh_lab, "1000:1000")
    assert found(fresh_lab) == list(MARKS[:1])
    fresh_lab.make("reset")
    assert found(fresh_lab) == []


@pytest.mark.full
def test_a_lab_starts_despite_links_among_its_caches(lab: Project, tmp_path: Path) -> None:
    """A notebook replaces folders with links. The start follows none of them, and deletes nothing elsewhere."""
    plant = (
        f"echo mine >~/data/mine && cd {VOLUME}/$(id -u) && rm -rf cache tmp try && ln -s /nowhere cache && "
        "ln -s ~/data tmp && ln -s /nowhere try && ln -s ~/data old.planted && chmod 500 ."
    )
    with beside(lab, tmp_path) as twin:
        twin.serve()
        twin.shell(plant)
        twin.serve_again()
        assert twin.shell("cd /run/lab && stat -L -c %F cache tmp try") == "directory\n" * 3
        until(lambda: not left_over(twin), "the links of the last start are deleted")
        assert twin.shell("cat ~/data/mine && rm ~/data/mine") == "mine\n"


@pytest.mark.nightly
def test_a_link_instead_of_the_users_folder_is_refused(fresh_lab: Project) -> None:
    fresh_lab.shell(f"mv {VOLUME}/1000 /tmp/x 2>/dev/null || rm -rf {VOLUME}/1000; ln -s /nowhere {VOLUME}/1000")
    fresh_lab.compose("rm", "--stop", "--force", "lab")
    done = fresh_lab.make("up", check=False)
    assert f"labdock: in the lab's volume, {VOLUME}/1000 is not a folder. Run 'make reset'" in done.stderr
    fresh_lab.make("reset")
    assert found(fresh_lab) == []


@pytest.mark.full
def test_a_mount_below_the_caches_is_used(lab: Project, tmp_path: Path) -> None:
    """The engine makes ~/.cache for such a mount, and this folder belongs to root. Other caches still work."""
    (tmp_path / "models").mkdir(mode=0o777)
    (tmp_path / "models/weights").write_text("shared")
    mount = {"services": {"lab": {"volumes": [f"{tmp_path}/models:/home/jovyan/.cache/huggingface:z"]}}}
    read = "from pathlib import Path; print((Path.home() / '.cache/huggingface/weights').read_text())"
    with beside(lab, tmp_path, mount) as twin, beside(lab, tmp_path) as without:
        twin.serve()
        assert twin.client().run(read) == "shared\n"
        assert json.loads(twin.client().run(CHOSEN))["matplotlib"].startswith(VOLUME)
        assert twin.shell("cat ~/.cache/huggingface/weights") == "shared"
        without.serve()  # on the same volume
        without.client().run("import pathlib; (pathlib.Path.home() / '.cache/huggingface').mkdir()")


# --- no room for a package --------------------------------------------------------------------------
SMALL = {"volumes": {"cache": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=40m,mode=1777"}}}}
STATE = "cd /run/lab/try && find . | LC_ALL=C sort | md5sum"
FULL = "labdock: the disk of the container engine is full, so nothing was installed."


def pip_that(lab: Project, folder: Path, old: str, new: str) -> dict[str, Any]:
    text = lab.read("lab/server/bin/pip")
    assert old in text
    layer = with_server(lab, folder, "bin/pip", text.replace(old, new))
    (folder / "pip").chmod(0o755)
    return layer


@pytest.mark.full
@pytest.mark.parametrize("spoilt", [False, True], ids=["as delivered", "the control: nothing is restored"])
def test_a_package_without_room_leaves_nothing(lab: Project, tmp_path: Path, spoilt: bool) -> None:
    """The download of sympy fits, and so does its dependency mpmath. The unpacked sympy does not."""
    layer = pip_that(lab, tmp_path, '[ ! -e "$before" ] || restore\' EXIT', "' EXIT") if spoilt else {}
    with beside(lab, tmp_path, SMALL, layer) as twin:
        twin.serve()
        twin.client().run("%pip install --quiet humanize")
        before = twin.shell(STATE)
        said = twin.client().run("%pip install sympy")
        assert FULL in said and "make add" not in said
        installed = twin.client().run(
            "import importlib.util as u; print(*map(bool, map(u.find_spec, ('humanize', 'mpmath'))))"
        )
        assert (twin.shell(STATE) == before, installed) == (
            (False, "True True\n") if spoilt else (True, "True False\n")
        )


@pytest.mark.full
def test_an_install_that_was_killed_is_undone_by_the_next(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        twin.shell("folder=$(readlink -f /run/lab/try) && cp -a $folder $folder.before && mkdir $folder/half")
        twin.shell("pip list")
        assert twin.shell("ls /run/lab/try | grep -c half || true") == "0\n"
