"""`make doctor` and a lab that runs, is paused or frozen, or holds the port of another."""

from pathlib import Path

import pytest

from tests.support.doctor import faults, mend
from tests.support.project import Project
from tests.support.waiting import becomes

# The signal goes to the process whose command line names the server (in brackets, so that this one does not).
FREEZE = """
for process in /proc/[0-9]*; do
    if grep -aq "python.*-m.[j]upyterlab" $process/cmdline; then kill -s STOP ${process#/proc/}; exit; fi
done
exit 1
"""


@pytest.mark.full
def test_a_frozen_server_is_seen_at_once_and_mended(lab: Project) -> None:
    assert faults(lab) == []
    lab.shell(FREEZE)
    (sentence,) = faults(lab)
    assert sentence.startswith("the lab runs but does not answer: wait for what its kernels may still save")
    mend(lab, sentence)
    becomes(lab, "healthy")
    assert faults(lab) == []
    assert lab.lab().run("print(1)") == "1\n"


def test_a_paused_lab_goes_on(lab: Project) -> None:
    lab.run("docker", "pause", lab.container()["Id"])
    (sentence,) = faults(lab)
    assert sentence.startswith("the lab is paused")
    mend(lab, sentence)
    assert faults(lab) == []
    assert lab.lab().run("print(1)") == "1\n"


def test_a_port_that_another_lab_has(lab: Project, tmp_path: Path) -> None:
    """Its own lab is no other program."""
    port = lab.lab().address.rpartition(":")[2]
    before = lab.read(".env")
    lab.set_env(JUPYTER_PORT=port)
    assert faults(lab) == []
    lab.run("cp", "-a", str(lab.folder), str(tmp_path / "lab"))
    other = Project(tmp_path / "lab", lab.answers)
    (lab.folder / ".env").write_text(before)
    (copied,) = faults(other)
    assert "made for another folder" in copied
    mend(other, copied)
    (taken,) = faults(other)
    assert taken.startswith(f"port {port} is taken by {lab.container()['Name'].lstrip('/')}: ")
    mend(other, taken)
    assert faults(other) == []
