"""uid 0 may run a lab only if /proc/self/uid_map maps it to another id: the guard, and the control without it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.project import Project

TEMPLATE = Path(__file__).parents[3] / "template"
ENTRYPOINT = (TEMPLATE / "lab/server/entrypoint.sh").read_text(encoding="utf-8")
CONFIG = (TEMPLATE / "lab/server/jupyter_server_config.py").read_text(encoding="utf-8")

MAPS = {
    "a real root": ("0 0 4294967295\n", False),
    "a real root among others": ("0 0 1\n1 100000 65536\n", False),
    "a rootless engine's": ("         0       1000          1\n         1     100000      65536\n", True),
    "a remapped engine's": ("0 100000 65536\n", True),
    "no 0": ("1000 0 1\n", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize("name", MAPS)
def test_uid_0_that_is_mapped_to_another_id_may_run(tmp_path: Path, name: str) -> None:
    text, expected = MAPS[name]
    (tmp_path / "uid_map").write_text(text)
    assert mapped(tmp_path) is expected
    if text:
        assert allowed(text) is expected


def test_without_a_map_uid_0_is_root(tmp_path: Path) -> None:
    assert not mapped(tmp_path)


def mapped(folder: Path) -> bool:
    """The result of the entrypoint's function for a map in `folder`."""
    function = ENTRYPOINT[ENTRYPOINT.index("mapped() {") :].partition("\n}\n")[0] + "\n}\n"
    assert function.count("/proc/self") == 1
    script = f"set -eu\n{function.replace('/proc/self', str(folder))}\nmapped uid_map || exit 3\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode == 0


def allowed(text: str) -> bool:
    """The server's own setting for this map."""
    found = re.search(r"^inside, outside.*\n(c\.ServerApp\.allow_root = )(.*)$", CONFIG, re.MULTILINE)
    assert found
    inside, outside, _ = text.split()[:3]
    return eval(found[2], {"inside": inside, "outside": outside})  # our own line


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("user", ["0:0", "1000:0"])
def test_without_the_guard_a_real_root_gets_in(lab: Project, tmp_path: Path, user: str, guarded: bool) -> None:
    """The control: in the tests' engine, which runs as root, only this guard refuses."""
    script = tmp_path / "entrypoint.sh"
    script.write_text(ENTRYPOINT if guarded else ENTRYPOINT.replace("mapped() {", "mapped() {\n    return 0"))
    mount = f"{script}:/opt/labdock/entrypoint.sh:ro"
    done = lab.compose("run", "--rm", "--no-deps", "--user", user, "--volume", mount, "prepare", check=False)
    refusal = re.search(r"labdock: the lab would run (as root \(uid 0\)|in root's group \(gid 0\))", done.stderr)
    assert bool(refusal) is guarded
