"""`.devcontainer/` opened by the reference implementation, as an editor does it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.devcontainer.conftest import OVERRIDE, UNPACK, Cli, opened, server_runs
from tests.support.hardening import failing
from tests.support.project import Project, Render
from tests.support.refusal import owned
from tests.support.server_probes import get

# An editor's extension does the same with a notebook: it starts the interpreter's kernel, and sends it each cell.
RUN = """
import json, os, pathlib
from jupyter_client.manager import start_new_kernel

os.chdir("notebooks")
_, client = start_new_kernel(kernel_name="python3")
cells = [cell for cell in json.loads(pathlib.Path("iris.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
for code in [*("".join(cell["source"]) for cell in cells), "import sys; print(sys.executable)"]:
    said = []
    reply = client.execute_interactive(code, output_hook=said.append, timeout=120)
    assert reply["content"]["status"] == "ok", reply
print(len(cells), *(message["content"].get("text") for message in said if message["msg_type"] == "stream"))
client.shutdown()
"""
# Every key that the specification gives to a configuration with Compose files.
KEYS = {
    *("name", "forwardPorts", "portsAttributes", "otherPortsAttributes", "updateRemoteUserUID", "remoteEnv"),
    *("remoteUser", "containerUser", "containerEnv", "userEnvProbe", "overrideCommand", "features"),
    *("overrideFeatureInstallOrder", "shutdownAction", "init", "privileged", "capAdd", "securityOpt", "mounts"),
    *("customizations", "hostRequirements", "secrets", "dockerComposeFile", "service", "runServices"),
    *("workspaceFolder", "initializeCommand", "onCreateCommand", "updateContentCommand", "postCreateCommand"),
    *("postStartCommand", "postAttachCommand", "waitFor"),
}


def test_a_fresh_copy_opens_in_the_users_environment(cli: Cli, fresh_copy: Project) -> None:
    ask = "import os, sys; print(sys.executable, os.getcwd(), os.getuid(), *sorted(os.listdir()), os.environ['HOME'])"
    assert cli(fresh_copy, "exec", "python", "-c", ask).split() == [
        "/opt/venv/bin/python", "/workspace", owned(fresh_copy).partition(":")[0], ".git", "data", "notebooks",
        "/home/jovyan",
    ]  # fmt: skip
    cli(fresh_copy, "exec", "python", "-c", "import sklearn, ipykernel")


def test_what_is_written_belongs_to_the_host_user(cli: Cli, fresh_copy: Project) -> None:
    cli(fresh_copy, "exec", "sh", "-ec", "echo hello >notebooks/made; echo hello >data/made; touch ~/made")
    for folder in ("notebooks", "data"):
        made = fresh_copy.folder / folder / "made"
        assert made.read_text() == "hello\n"
        assert f"{made.stat().st_uid}:{made.stat().st_gid}" == owned(fresh_copy)


def test_the_hardening_is_kept(cli: Cli, fresh_copy: Project) -> None:
    assert failing("lab", fresh_copy.container()) == set()
    status = cli(fresh_copy, "exec", "cat", "/proc/self/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert cli(fresh_copy, "exec", "sh", "-c", "touch /made 2>&1 || true").endswith("Read-only file system\n")


def test_the_labs_server_still_answers(fresh_copy: Project) -> None:
    lab = fresh_copy.client()
    assert [get(lab, "/api/contents", token) for token in (None, lab.token)] == [403, 200]
    assert lab.run("print(6 * 7)") == "42\n"


def test_the_users_own_settings_are_included(cli: Cli, fresh_copy: Project) -> None:
    assert cli(fresh_copy, "exec", "printenv", "OWN_SETTING") == "seen\n"
    files = fresh_copy.container()["Config"]["Labels"]["com.docker.compose.project.config_files"]
    assert f"{fresh_copy.folder}/compose.override.yaml" in files


def test_every_key_is_one_of_the_specification(cli: Cli, fresh_copy: Project) -> None:
    """`devcontainer` ignores unknown keys without a message."""
    read = json.loads(cli(fresh_copy, "read-configuration").splitlines()[-1])["configuration"]
    assert set(read) - {"configFilePath"} <= KEYS
    for name in read["dockerComposeFile"]:
        assert (fresh_copy.folder / ".devcontainer" / name).is_file()


@pytest.mark.full
def test_it_opens_where_a_lab_was_running(cli: Cli, fresh_lab: Project) -> None:
    """The editor uses the running lab, and its kernels keep running. `make up` does not replace that lab."""
    before = fresh_lab.container()["Id"]
    said = opened(cli, fresh_lab)
    assert said["containerId"] == before
    wrote = cli(fresh_lab, "exec", "--container-id", before, "sh", "-c", "echo kept >data/kept; pwd")
    assert wrote == "/workspace\n"
    assert fresh_lab.up().run("print(open('../data/kept').read(), end='')") == "kept\n"
    assert fresh_lab.container()["Id"] == before


@pytest.mark.full
@pytest.mark.parametrize("network", ["allowlist", "sealed"])
def test_it_opens_in_a_lab_with_walls(cli: Cli, new_project: Render, network: str) -> None:
    """The editor's server comes in through the engine, as docs/how-to/networks.md says."""
    project = new_project(network=network)
    opened(cli, project)
    cli(project, "exec", "sh", "-ec", UNPACK)
    server_runs(cli, project)
    assert cli(project, "exec", "sh", "-c", "curl --silent https://example.com || echo closed") == "closed\n"
    assert project.client().run("print(6 * 7)") == "42\n"
    project.down()


@pytest.mark.full
def test_it_opens_where_the_override_was_deleted(cli: Cli, fresh_project: Project) -> None:
    (fresh_project.folder / "compose.override.yaml").unlink()
    opened(cli, fresh_project)
    assert fresh_project.client().run("print(6 * 7)") == "42\n"


@pytest.mark.full
def test_without_its_first_command_a_deleted_override_is_an_error(cli: Cli, fresh_project: Project) -> None:
    """The control."""
    (fresh_project.folder / "compose.override.yaml").unlink()
    fresh_project.replace(".devcontainer/devcontainer.json", '"initializeCommand"', '"x"')
    with pytest.raises(AssertionError, match=r"compose\.override\.yaml"):
        cli(fresh_project, "up")


def on_windows(command: str, folder: Path, script: int | None) -> int:
    """The status with which cmd.exe ends `command`, if `sh` ends with `script`, or if there is no `sh` (None).

    cmd.exe knows no comments in a command. This reads initialize.cmd line by line, and fails on an unknown line.
    """
    first, otherwise = command.split(" || ")
    assert first.startswith("sh .devcontainer/initialize.sh") and otherwise == r".devcontainer\initialize.cmd"
    if script == 0:
        return 0
    found = script is not None
    for line in (folder / ".devcontainer/initialize.cmd").read_text().splitlines():
        if line == "if not errorlevel 1 exit /b 1" and found:
            return 1
        if line == "if not exist compose.override.yaml echo services: {}>compose.override.yaml":
            if not (folder / "compose.override.yaml").exists():
                (folder / "compose.override.yaml").write_text("services: {}\n")
        elif line == "exit /b 0":
            return 0
        else:
            known = ("@echo off", "where /q sh", "if not errorlevel 1 exit /b 1")
            assert line in known or line.startswith("rem "), line
    return 0


def test_the_first_command_on_each_system(render: Render, tmp_path: Path) -> None:
    """If initialize.sh refuses, this is an error on every system. Windows may have no `sh`."""
    project = render()
    text = project.read(".devcontainer/devcontainer.json")
    (command,) = re.findall(r'"initializeCommand": (".*"),', text)
    command = json.loads(command)
    (tmp_path / ".devcontainer").mkdir()
    shutil.copy(project.folder / ".devcontainer/initialize.cmd", tmp_path / ".devcontainer")
    for script, opens in ((0, True), (1, False)):
        (tmp_path / ".devcontainer/initialize.sh").write_text(f"exit {script}")
        assert (subprocess.run(["sh", "-c", command], cwd=tmp_path).returncode == 0) is opens
        assert (on_windows(command, tmp_path, script) == 0) is opens
        assert not (tmp_path / "compose.override.yaml").exists()
    assert on_windows(command, tmp_path, None) == 0
    assert (tmp_path / "compose.override.yaml").read_text() == "services: {}\n"


@pytest.mark.full
def test_the_users_lifecycle_commands_run_as_the_user(cli: Cli, fresh_project: Project) -> None:
    order = ["onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand", "postAttachCommand"]
    lines = "".join(f'"{name}": "echo {name} $(id -u) >>data/lifecycle",\n  ' for name in order)
    fresh_project.replace(".devcontainer/devcontainer.json", '"service":', f'{lines}"service":')
    opened(cli, fresh_project)
    uid = fresh_project.container()["Config"]["User"].partition(":")[0]
    assert fresh_project.read("data/lifecycle").splitlines() == [f"{name} {uid}" for name in order]
    opened(cli, fresh_project)  # a second time: the container exists, so only postAttachCommand runs
    again = [f"{name} {uid}" for name in order if name == "postAttachCommand"]
    assert fresh_project.read("data/lifecycle").splitlines()[len(order) :] == again


@pytest.mark.full
def test_the_editor_runs_the_notebook_and_pip(cli: Cli, fresh_copy: Project) -> None:
    """As the editor's extension does: with the interpreter's kernel, in the notebook's folder, without the server."""
    cells = json.loads(fresh_copy.read("notebooks/iris.ipynb"))["cells"]
    (fresh_copy.folder / "data/run.py").write_text(RUN)
    assert cli(fresh_copy, "exec", "python", "data/run.py").split() == [
        str(sum(cell["cell_type"] == "code" for cell in cells)), "/opt/venv/bin/python",
    ]  # fmt: skip
    tried = cli(fresh_copy, "exec", "sh", "-ec", "pip install --quiet humanize && python -c 'import humanize'")
    assert "make add PKG=" in tried


@pytest.mark.full
def test_the_editors_server_unpacks_and_runs(cli: Cli, fresh_copy: Project) -> None:
    """The editor's server is on the volume, which survives the lab. A program in /tmp cannot run."""
    server_runs(cli, fresh_copy, UNPACK)
    elsewhere = "cp /usr/bin/env /tmp/node && /tmp/node 2>&1 || true"
    assert "Permission denied" in cli(fresh_copy, "exec", "sh", "-c", elsewhere)
    fresh_copy.compose("down", "--timeout", "2")
    opened(cli, fresh_copy)
    server_runs(cli, fresh_copy)


@pytest.mark.full
def test_without_the_line_that_lists_it_the_override_is_lost(cli: Cli, fresh_project: Project) -> None:
    """The control of "the user's own settings are included"."""
    (fresh_project.folder / "compose.override.yaml").write_text(OVERRIDE)
    fresh_project.replace(".devcontainer/devcontainer.json", ', "../compose.override.yaml"', "")
    opened(cli, fresh_project)
    assert cli(fresh_project, "exec", "sh", "-c", "printenv OWN_SETTING || echo lost") == "lost\n"
