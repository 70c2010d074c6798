"""Fixtures only: the reference implementation of dev containers, and a project that it opened."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import shared
from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tests.support.waiting import becomes

HERE = Path(__file__).parent
Cli = Callable[..., str]
# The commands that unpack the editor's server like its archive, and execute it.
SERVER = "~/.vscode-server/bin/0123"
UNPACK = f"mkdir -p {SERVER} && cd {SERVER} && tar -C /usr/bin -cf- env | tar -xf- && mv env node"
EXECUTE = f"{SERVER}/node SERVER=runs && readlink -f {SERVER}"
OVERRIDE = "services:\n  lab:\n    environment: {OWN_SETTING: seen}\n"


@pytest.fixture(scope="session")
def cli() -> Cli:
    """A function that runs the locked version of `devcontainer` and returns its standard output."""
    npm = shutil.which("npm") or lacking("npm is not found: the dev container's tests need Node")
    locked = json.loads((HERE / "package.json").read_text())["dependencies"]["@devcontainers/cli"]
    package = HERE / "node_modules/@devcontainers/cli"
    with shared.alone("npm"):
        if not package.exists() or json.loads((package / "package.json").read_text())["version"] != locked:
            subprocess.run([str(npm), "ci", "--ignore-scripts"], cwd=HERE, check=True, capture_output=True)

    def run(project: Project, command: str, *arguments: str, modules: Path = HERE, **options: Any) -> str:
        program = str(modules / package.relative_to(HERE) / "devcontainer.js")
        return project.run("node", program, command, "--workspace-folder", ".", *arguments, **options).stdout

    return run


def opened(cli: Cli, project: Project, **options: Any) -> dict[str, Any]:
    """Run `devcontainer up`, wait until the lab is healthy, and return the JSON that the command printed."""
    said = json.loads(cli(project, "up", **options).splitlines()[-1])
    becomes(project, "healthy")
    return said


def server_runs(cli: Cli, project: Project, *before: str, **options: Any) -> None:
    """Execute the editor's server, after the commands `before`, on the volume that is kept for the lab's user."""
    *environment, folder = cli(project, "exec", "sh", "-ec", "\n".join([*before, EXECUTE]), **options).splitlines()
    uid = project.container()["Config"]["User"].partition(":")[0]
    assert "SERVER=runs" in environment and folder == f"/var/lib/lab/{uid}/{SERVER[2:]}"


@pytest.fixture(scope="module")
def fresh_copy(cli: Cli, started: list[Project], render: Render) -> Iterator[Project]:
    """A project in git after `copier copy`, opened at once: no .env, no make, no earlier start."""
    project = render(project_slug=f"opened-{os.getpid()}")
    started.append(project)
    project.environment["JUPYTER_PORT"] = "0"  # another lab on this machine may use the default port
    (project.folder / "compose.override.yaml").write_text(OVERRIDE)
    project.commit()
    if os.geteuid() == 0:  # files of a user: the lab could change each file that it mounts
        for path in (project.folder, *project.folder.rglob("*")):
            os.chown(path, 1000, 1000)
    said = opened(cli, project)
    assert (said["outcome"], said["remoteWorkspaceFolder"]) == ("success", "/workspace")
    yield project
    project.down()
