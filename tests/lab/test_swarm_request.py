"""What the workers of a Swarm get of the service `worker`, without a Swarm: the request to the engine's API."""

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.support.project import Project, Render

TASK = {"ContainerSpec": {"Image": "i"}}
SERVICE = [{"ID": "one", "Version": {"Index": 7}, "Spec": {"Name": "w", "TaskTemplate": TASK}}]


@pytest.fixture(scope="module")
def project(engine: None, render: Render) -> Project:
    return render(scale_out="dask")


def made(project: Project, data: str = "", **worker: Any) -> subprocess.CompletedProcess[str]:
    """Run swarm.py with what Compose says about the project, and with more lines for `worker`."""
    (project.folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": {"worker": worker}}))
    documents = (json.dumps(SERVICE), project.compose("config", "--format", "json").stdout, seccomp(project))
    command = (sys.executable, "-I", "lab/server/cluster/swarm.py", "recipe", "3", data)
    return project.run(*command, check=False, input="\n".join(documents))


def seccomp(project: Project) -> str:
    return project.read("lab/runtime/seccomp.json")


def spec(project: Project, data: str = "", **worker: Any) -> dict[str, Any]:
    """The service that the request asks for."""
    head, _, body = made(project, data, **worker).stdout.partition("\n\n")
    assert head.startswith("POST /services/one/update?version=7 HTTP/1.1")
    assert f"Content-Length: {len(body)}\n" in head
    return json.loads(body)


def test_the_request_has_all_protections_and_limits(project: Project) -> None:
    worker = project.config()["services"]["worker"]
    found = spec(project)
    assert found["Labels"] == {"labdock.recipe": "recipe"} and found["Mode"] == {"Replicated": {"Replicas": 3}}
    container = found["TaskTemplate"]["ContainerSpec"]
    assert container["Image"] == "i"  # what the service has already
    assert (container["User"], container["ReadOnly"], container["Init"]) == (worker["user"], True, True)
    assert container["CapabilityDrop"] == ["ALL"] and container["Privileges"]["NoNewPrivileges"] is True
    profile = container["Privileges"]["Seccomp"]
    assert profile["Mode"] == "custom"
    assert json.loads(base64.b64decode(profile["Profile"])) == json.loads(seccomp(project))
    assert {each["Name"]: (each["Soft"], each["Hard"]) for each in container["Ulimits"]} == {
        "core": (0, 0),
        "nofile": (4096, 4096),
    }
    assert container["StopGracePeriod"] == 60 * 10**9
    assert container["Healthcheck"]["StartInterval"] == 5 * 10**8
    assert found["TaskTemplate"]["Resources"] == {
        "Limits": {"MemoryBytes": 2 * 1024**3, "NanoCPUs": 10**9, "Pids": 512},
        "SwapBytes": 0,
    }


def test_mounts(project: Project) -> None:
    """No folder of the project, and the shared folder read-only. Scratch has no name: it ends with its worker."""
    mounts = {each["Target"]: each for each in spec(project, "/mnt/study")["TaskTemplate"]["ContainerSpec"]["Mounts"]}
    assert {*mounts} == {"/tmp", "/run/lab", "/home/jovyan", "/home/jovyan/data", "/var/cache/lab"}
    shared = {"Type": "bind", "Source": "/mnt/study", "Target": "/home/jovyan/data", "ReadOnly": True}
    assert mounts["/home/jovyan/data"] == shared
    assert "Source" not in mounts["/var/cache/lab"]
    assert mounts["/tmp"]["TmpfsOptions"] == {"SizeBytes": 1024**3, "Mode": 0o1777, "Options": []}
    assert mounts["/home/jovyan"]["TmpfsOptions"]["Options"] == [["exec"]]
    without = spec(project)["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert "/home/jovyan/data" not in [each["Target"] for each in without]


def test_variables_have_their_values(project: Project) -> None:
    """Compose doubles dollar signs, and prints nothing for a variable that the shell does not have."""
    variables = spec(project, environment={"PASSWORD": "pa$$word", "NOT_SET": None})
    env = variables["TaskTemplate"]["ContainerSpec"]["Env"]
    assert "PASSWORD=pa$word" in env
    assert not [each for each in env if each.startswith("NOT_SET")]
    assert "LAB_WORKER_SCHEDULER=tls://scheduler:8786" in env


LOST: dict[str, Any] = {
    "runtime": "other",
    "privileged": True,
    "cap_add": ["SYS_ADMIN"],
    "group_add": ["4"],
    "networks": ["server"],
    "command": ["lab"],
    "build": ".",
}


@pytest.mark.parametrize("name", LOST)
def test_what_a_swarm_cannot_have_is_refused(project: Project, name: str) -> None:
    """The control: without the line, there is a request (the other tests)."""
    done = made(project, **{name: LOST[name]})
    assert done.returncode and done.stdout == ""
    assert done.stderr.startswith(f"a Swarm's worker cannot have '{name}'. Remove it from the service worker in ")


def test_other_volumes_and_profiles_are_refused(project: Project) -> None:
    for worker, expected in (
        ({"volumes": [{"type": "tmpfs", "target": "/mnt"}]}, "this kind of volume at /mnt"),
        (
            {"volumes": [{"type": "volume", "source": "kept", "target": "/mnt", "volume": {"subpath": "a"}}]},
            "this kind of",
        ),
        ({"security_opt": ["seccomp=unconfined"]}, "security_opt 'seccomp=unconfined'"),
        ({"tmpfs": ["/mnt:size=50%"]}, "a tmpfs of the size 50%"),
    ):
        assert made(project, **worker).stderr.startswith(f"a Swarm's worker cannot have {expected}"), worker
