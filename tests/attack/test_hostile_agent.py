"""A notebook takes the place of the agent, which starts notebooks for the server. The server keeps working."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.server_probes import refusal
from tests.support.variants import beside
from tests.support.waiting import until
from tools.notebook import execute, text

SCRIPT = Path(__file__).with_name("hostile_agent.py").read_text(encoding="utf-8")
TEXT = {"type": "file", "format": "text", "content": "saved"}
BEHAVIOURS = (
    "silent", "endless", "slow", "nested", "long", "wrong types", "half", "closed", "nothing runs",
    "thousands of kernels", "error", "noise", "never accepts",
)  # fmt: skip
QUICK = ("nested", "closed")


@pytest.fixture(scope="module")
def twin(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with beside(lab, tmp_path_factory.mktemp("hostile")) as twin:
        twin.serve()
        yield twin


@contextmanager
def hostile(lab: Project, behaviour: str, seed: str = "0") -> Iterator[None]:
    """A hostile agent in the container `lab`."""
    (container,) = lab.ids("service=lab")
    command = ["docker", "exec", "--interactive", container, "python", "-c", SCRIPT, behaviour, seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            lab.shell("pkill -TERM -f [t]rue-agent")
            process.wait()


@pytest.mark.attack(
    "Take the agent's place from a notebook, and answer the server with nothing, too much, wrong types or noise",
    "The server answers. Saves and other notebooks work. A new notebook gets an error.",
)
@pytest.mark.parametrize(
    "behaviour", [pytest.param(each, marks=() if each in QUICK else pytest.mark.full) for each in BEHAVIOURS]
)
def test_the_server_keeps_working(twin: Project, behaviour: str) -> None:
    lab = twin.client()
    with lab.kernel() as other:
        execute(other, "answer = 42")
        with hostile(twin, behaviour):
            said = refusal(lab, "POST", "kernels", json={"name": "python3"})
            assert lab.request("GET", "status").status_code == 200
            lab.request("PUT", "contents/data/saved.txt", json=TEXT)
            if behaviour not in ("nothing runs", "thousands of kernels"):  # these say that the other notebook has ended
                assert text(execute(other, "print(answer)")) == "42\n"
                assert said.startswith("labdock: ")
        assert twin.container("server")["RestartCount"] == 0
    until(lambda: lab.run("print(1)") == "1\n", "new notebooks start again")
    lab.request("DELETE", "contents/data/saved.txt")


@pytest.mark.nightly
@pytest.mark.attack(
    "Take the agent's place from a notebook, and give 300 damaged answers", "The server answers after each of them."
)
@pytest.mark.parametrize("seed", range(300))
def test_no_noise_stops_the_server(twin: Project, seed: int) -> None:
    lab = twin.client()
    with hostile(twin, ("noise", "wrong types")[seed % 2], str(seed)):
        refusal(lab, "POST", "kernels", json={"name": "python3"})
        assert lab.request("GET", "status").status_code == 200
    assert twin.container("server")["RestartCount"] == 0
