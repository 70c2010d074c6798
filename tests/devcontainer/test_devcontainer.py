"""`.devcontainer/` opened by the reference implementation, as an editor does it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Render, lacking
from tests.support.hardening import failing
from tests.support.probes import get
from tests.support.project import Project
from tests.support.waiting import becomes

HERE = Path(__file__).parent
Cli = Callable[..., str]
OVERRIDE = "services:\n  lab:\n    environment: {OWN_SETTING: seen}\n"
# Every key that the specification gives to a configuration with Compose files.
KEYS = {
    *("name", "forwardPorts", "portsAttributes", "otherPortsAttributes", "updateRemoteUserUID", "remoteEnv"),
    *("remoteUser", "containerUser", "containerEnv", "userEnvProbe", "overrideCommand", "features"),
    *("overrideFeatureInstallOrder", "shutdownAction", "init", "privileged", "capAdd", "securityOpt", "mounts"),
    *("customizations", "hostRequirements", "secrets", "dockerComposeFile", "service", "runServices"),
    *("workspaceFolder", "initializeCommand", "onCreateCommand", "updateContentCommand", "postCreateCommand"),
    *("postStartCommand", "postAttachCommand", "waitFor"),
}


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs the locked version of the command line; returns what it prints to standard output."""
    npm = shutil.which("npm") or lacking("npm is not found: the dev container's tests need Node")
    locked = json.loads((HERE / "package.json").read_text())["dependencies"]["@devcontainers/cli"]
    package = HERE / "node_modules/@devcontainers/cli"
    if not package.exists() or json.loads((package / "package.json").read_text())["version"] != locked:
        subprocess.run([str(npm), "ci", "--ignore-scripts"], cwd=HERE, check=True, capture_output=True)

    def run(project: Project, command: str, *arguments: str) -> str:
        program = str(package / "devcontainer.js")
        return project.run("node", program, command, "--workspace-folder", ".", *arguments).stdout

    return run


def opened(cli: Cli, project: Project) -> dict[str, Any]:
    """`devcontainer up`; what it says of itself once the lab answers."""
    said = json.loads(cli(project, "up").splitlines()[-1])
    becomes(project, "healthy")
    return said


@pytest.fixture(scope="module")
def fresh_copy(cli: Cli, engine: None, render: Render) -> Iterator[Project]:
    """A project after `copier copy`, opened at once: no .env, no make, no earlier start."""
    project = render(project_slug=f"opened-{os.getpid()}")
    project.environment["JUPYTER_PORT"] = "0"  # another lab of this machine may hold the usual one
    (project.folder / "compose.override.yaml").write_text(OVERRIDE)
    if os.geteuid() == 0:
        for path in [project.folder, *project.folder.rglob("*")]:
            os.chown(path, 1000, 1000)
    elif os.geteuid() != 1000:
        lacking(f"only root or uid 1000 can play the usual first user, this is uid {os.geteuid()}")
    said = opened(cli, project)
    assert (said["outcome"], said["remoteWorkspaceFolder"]) == ("success", "/workspace")
    yield project
    project.down()


def test_a_fresh_copy_opens_in_the_users_environment(cli: Cli, fresh_copy: Project) -> None:
    ask = "import os, sys; print(sys.executable, os.getcwd(), os.getuid(), *sorted(os.listdir()), os.environ['HOME'])"
    assert cli(fresh_copy, "exec", "python", "-c", ask).split() == [
        "/opt/venv/bin/python", "/workspace", "1000", "data", "notebooks", "/home/jovyan",
    ]  # fmt: skip
    cli(fresh_copy, "exec", "python", "-c", "import sklearn, ipykernel")


def test_what_is_written_belongs_to_the_host_user(cli: Cli, fresh_copy: Project) -> None:
    cli(fresh_copy, "exec", "sh", "-ec", "echo hello >notebooks/made; echo hello >data/made; touch ~/made")
    for folder in ("notebooks", "data"):
        made = fresh_copy.folder / folder / "made"
        assert made.read_text() == "hello\n"
        assert (made.stat().st_uid, made.stat().st_gid) == (1000, 1000)


def test_the_hardening_is_kept(cli: Cli, fresh_copy: Project) -> None:
    assert failing("lab", fresh_copy.container()) == set()
    status = cli(fresh_copy, "exec", "cat", "/proc/self/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert cli(fresh_copy, "exec", "sh", "-c", "touch /made 2>&1 || true").endswith("Read-only file system\n")


def test_the_labs_server_still_answers(fresh_copy: Project) -> None:
    lab = fresh_copy.lab()
    assert [get(lab, "/api/contents", token) for token in (None, lab.token)] == [403, 200]
    assert lab.run("print(6 * 7)") == "42\n"


def test_the_users_own_settings_are_included(cli: Cli, fresh_copy: Project) -> None:
    assert cli(fresh_copy, "exec", "printenv", "OWN_SETTING") == "seen\n"
    files = fresh_copy.container()["Config"]["Labels"]["com.docker.compose.project.config_files"]
    assert f"{fresh_copy.folder}/compose.override.yaml" in files


def test_every_key_is_one_of_the_specification(cli: Cli, fresh_copy: Project) -> None:
    """The command line accepts any key in silence."""
    read = json.loads(cli(fresh_copy, "read-configuration").splitlines()[-1])["configuration"]
    assert set(read) - {"configFilePath"} <= KEYS
    for name in read["dockerComposeFile"]:
        assert (fresh_copy.folder / ".devcontainer" / name).is_file()


def test_it_opens_where_a_lab_was_running(cli: Cli, fresh_lab: Project) -> None:
    """It joins the running lab, whose kernels go on, and `make up` leaves that lab alone."""
    before = fresh_lab.container()["Id"]
    said = opened(cli, fresh_lab)
    assert said["containerId"] == before
    wrote = cli(fresh_lab, "exec", "--container-id", before, "sh", "-c", "echo kept >data/kept; pwd")
    assert wrote == "/workspace\n"
    assert fresh_lab.up().run("print(open('../data/kept').read(), end='')") == "kept\n"
    assert fresh_lab.container()["Id"] == before


def test_without_the_line_that_lists_it_the_override_is_lost(cli: Cli, fresh_project: Project) -> None:
    """The control of "the user's own settings are included"."""
    (fresh_project.folder / "compose.override.yaml").write_text(OVERRIDE)
    fresh_project.replace(".devcontainer/devcontainer.json", ', "../compose.override.yaml"', "")
    opened(cli, fresh_project)
    assert cli(fresh_project, "exec", "sh", "-c", "printenv OWN_SETTING || echo lost") == "lost\n"
