"""The health check: true only while the server answers. tests/attack/test_stop_server.py freezes the agent."""

from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import QUICK, becomes, health, until

# The server is the first process's child.
SIGNAL = """
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    if open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1] == "1":
        os.kill(int(pid), int(sys.argv[1]))
"""


@pytest.mark.full
def test_a_server_that_hangs_is_unhealthy(lab: Project, tmp_path: Path) -> None:
    """Its port still listens and its process still runs: only a real request tells."""
    with beside(lab, tmp_path, {"services": {"server": QUICK}}) as twin:
        twin.serve()
        becomes(twin, "healthy")
        for number, state in (("19", "unhealthy"), ("18", "healthy")):  # SIGSTOP, SIGCONT
            twin.compose("exec", "--no-TTY", "server", "/opt/jupyter/bin/python", "-c", SIGNAL, number)
            becomes(twin, state)


@pytest.mark.full
def test_a_server_with_an_error_in_its_settings_does_not_serve(lab: Project, tmp_path: Path) -> None:
    """Jupyter alone would go on without the settings after the error."""
    settings = lab.read("lab/server/jupyter_server_config.py") + "\nraise RuntimeError('a late error')\n"
    with beside(lab, tmp_path, with_server(lab, tmp_path, "jupyter_server_config.py", settings)) as twin:
        twin.compose("up", "--detach", "--no-build", "--no-deps", "server", "lab")
        until(lambda: twin.container("server")["RestartCount"] > 0, "the server ends")
        assert "a late error" in twin.logs() and health(twin) != "healthy"
