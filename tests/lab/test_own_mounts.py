"""Mounts of the user's own, deep in home. The engine makes the folders above them, and these belong to root."""

import json
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.variants import beside, both, with_server
from tests.support.waiting import starts

LOOP, SKIPPED = '[ "$(stat -c %u "$folder")" = "$uid" ]; then', "true; then"
HISTORY = '[ -e "$HOME/$path" ] || [ "$(stat -c %d "$parent")" != "$(stat -c %d "$HOME")" ] || ln -s '
SEEN = """
import json, os, pathlib
home = pathlib.Path.home()
places = [".ipython/profile_default", ".cache", ".jupyter", ".config", "projects"]
history = (home / ".ipython/profile_default/history.sqlite").resolve()
print(json.dumps({
    "started": globals().get("started"),
    "bash": (home / ".bash_history").read_text(),
    "pip": (home / ".config/pip/pip.conf").read_text(),
    "model": (home / ".cache/huggingface/model").read_text(),
    "inside": (home / "projects/alpha/inside/file").read_text(),
    "mine": [os.stat(home / place).st_uid == os.getuid() for place in places],
    "kept": str(history).startswith("/var/lib/lab/"),
}))
"""


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text


@pytest.mark.full
@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("mounts", "", ""),
        pytest.param("mounts", LOOP, SKIPPED, id="the control: the folders stay root's"),
        pytest.param("kept", HISTORY, "ln -sfn ", id="the control: a link replaces each mount"),
    ],
)
def test_mounts_deep_in_home(lab: Project, tmp_path: Path, part: str, old: str, new: str) -> None:
    write(tmp_path / "startup/mine.py", "started = 'yes'\n")
    write(tmp_path / "history", "ls -l\n")
    write(tmp_path / "pip.conf", "[global]\n")
    write(tmp_path / "models/model", "weights")
    write(tmp_path / "inside/file", "nested")
    (tmp_path / "alpha/inside").mkdir(parents=True)
    (tmp_path / "jupyter").mkdir()
    volumes = {
        "startup": ".ipython/profile_default/startup",
        "history": ".bash_history",
        "models": ".cache/huggingface",
        "jupyter": ".jupyter/lab",
        "pip.conf": ".config/pip/pip.conf",
        "alpha": "projects/alpha",
        "inside": "projects/alpha/inside",
    }
    layer = both(volumes=[f"{tmp_path}/{a}:/home/jovyan/{b}" for a, b in volumes.items()])
    text = lab.read(f"lab/server/start/{part}.sh")
    assert old in text
    changed = with_server(lab, tmp_path, f"start/{part}.sh", text.replace(old, new) if old else text)
    with beside(lab, tmp_path, layer, changed) as twin:
        assert starts(twin) is not bool(old), twin.logs()
        if old:
            return
        seen = json.loads(twin.client().run(SEEN))
        assert seen == {
            "started": "yes",
            "bash": "ls -l\n",
            "pip": "[global]\n",
            "model": "weights",
            "inside": "nested",
            "mine": [True] * 5,
            "kept": True,
        }
        assert twin.container()["RestartCount"] == 0
        assert "ln:" not in twin.logs() and "mkdir:" not in twin.logs()
    assert "lab" not in {path.name for path in (tmp_path / "jupyter").iterdir()}
