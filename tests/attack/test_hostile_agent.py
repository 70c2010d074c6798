"""A notebook takes the place of the agent, which starts notebooks for the server. The server keeps working."""

import os
import random
import subprocess
import time
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
FUZZ = Path(__file__).with_name("fuzz.py").read_text(encoding="utf-8")
CARELESS = """
async def careless(operation, **values):
    import agent_client

    reader, writer = await asyncio.open_unix_connection(agent_client.SOCKETS / "agent")
    writer.write(b"{}\\n")
    return json.loads(await reader.readline())


"""
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


# Seconds of random answers and requests, for all targets together. The variable is for trying it out.
SECONDS = float(os.environ.get("LABDOCK_FUZZ_SECONDS", "3600"))
LONG = [pytest.mark.nightly, pytest.mark.timeout(SECONDS + 600)]


def seed() -> str:
    """Another one in each run. The test prints it."""
    number = str(random.randrange(10**9))
    print("seed", number)
    return number


@pytest.mark.attack(
    "Give random answers to the server, and send random requests to the agent, for an hour",
    "The agent and its client in the server go on.",
)
@pytest.mark.parametrize("seconds", [5.0, pytest.param(SECONDS / 3, marks=LONG)], ids=["short", "long"])
@pytest.mark.parametrize("target", ["client", "agent"])
def test_noise_does_not_stop_the_agent_or_its_client(twin: Project, target: str, seconds: float) -> None:
    (container,) = twin.ids(f"service={'server' if target == 'client' else 'lab'}")
    python = ("/opt/jupyter/bin/python", "-I", "-")
    done = twin.run("docker", "exec", "--interactive", container, *python, target, str(seconds), seed(), input=FUZZ)
    print(target, done.stdout.strip(), "executions")
    assert done.stderr == ""
    assert int(done.stdout) > 100
    assert [twin.container(name)["RestartCount"] for name in ("server", "lab")] == [0, 0]


@pytest.mark.attack("Play the agent with random answers while the server is used", "The server goes on.")
@pytest.mark.parametrize("seconds", [pytest.param(SECONDS / 3, marks=LONG, id="long")])
def test_noise_does_not_stop_the_server(twin: Project, seconds: float) -> None:
    lab, end, count = twin.client(), time.monotonic() + seconds, 0
    with hostile(twin, "anything", seed()):
        while time.monotonic() < end:
            refusal(lab, "POST", "kernels", json={"name": "python3"})
            refusal(lab, "POST", "terminals")
            for kind, key in (("kernels", "id"), ("terminals", "name")):
                for each in lab.request("GET", kind).json():
                    refusal(lab, "DELETE", f"{kind}/{each[key]}")
            for path in ("status", "metrics/v1", "kernelspecs"):
                assert lab.request("GET", path).status_code == 200
            count += 1
    print("server", count, "executions")
    assert twin.container("server")["RestartCount"] == 0
    until(lambda: lab.run("print(1)") == "1\n", "new notebooks start again")


def test_a_client_that_checks_nothing_is_noticed(twin: Project) -> None:
    """The control: without the check of types, the fuzzer finds wrong ones."""
    careless = FUZZ.replace("import agent_client\n", "import agent_client\n\n    agent_client.ask = careless\n", 1)
    careless = careless.replace("async def client(", CARELESS + "async def client(")
    (container,) = twin.ids("service=server")
    python = ("/opt/jupyter/bin/python", "-I", "-", "client", "5", "0")
    assert "AttributeError" in twin.run("docker", "exec", "--interactive", container, *python, input=careless).stderr
