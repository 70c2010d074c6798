"""The health checks: true only while the server and the agent answer."""

from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.server_probes import refusal
from tests.support.variants import beside
from tests.support.waiting import QUICK, becomes

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
def test_an_agent_that_hangs_is_unhealthy_and_doctor_names_it(lab: Project, tmp_path: Path) -> None:
    """The server still answers. A new notebook gets an error with the fix, and runs when the agent goes on."""
    with beside(lab, tmp_path, {"services": {"lab": QUICK}}) as twin:
        twin.serve()
        becomes(twin, "healthy", "lab")
        twin.shell("kill -STOP $(pgrep -f labdock/agent.py)")
        becomes(twin, "unhealthy", "lab")
        said = refusal(twin.client(), "POST", "kernels", json={"name": "python3"})
        assert said.startswith("labdock: the container lab does not answer.") and "docker compose restart lab" in said
        assert "FIX   the service lab does not answer" in twin.make("doctor", check=False).stdout
        twin.shell("kill -CONT $(pgrep -f labdock/agent.py)")
        becomes(twin, "healthy", "lab")
        assert twin.client().run("print(1)") == "1\n"
