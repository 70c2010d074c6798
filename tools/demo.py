"""Render a project, start its lab and run its notebook: `python -m tools.demo render|up|down FOLDER`.

`make demo` runs `render` while the engine starts. Then it runs `up`, which skips each step that is already done.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import copier

import engine
from engine import machine
from engine.common import Refused
from tools.notebook import LabClient, printed

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.13"
NOTEBOOK = "notebooks/iris.ipynb"
times: list[tuple[str, float]] = []


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print the name of a step, and remember how long the step took."""
    print(f"\n==> {what}", flush=True)
    start = time.time()
    yield
    times.append((what, time.time() - start))


def up(folder: Path) -> None:
    """Render into `folder`, build, start, run the example notebook, print the address."""
    # Count from the start of `make demo`, which has installed the tools, started the engine and rendered the project.
    begin = float(os.environ.get("DEMO_BEGAN") or time.time())
    state = engine.up([PYTHON])[PYTHON]
    if state != "ready":
        raise Refused(f"python {PYTHON}: {state}")
    render(folder)
    times.append(("Tools, engine, base image, project", time.time() - begin))
    with step("Build and start (make up)"):
        if not (folder / ".env").exists():
            make(folder, "env")
            with (folder / ".env").open("a") as env:
                env.write("\n# This machine's own settings; the last line of a name counts.\n")
                env.writelines(f"{name}={value}\n" for name, value in machine.settings().items())
        make(folder, "up")
    lab = running_lab(folder)
    with step(f"Run {NOTEBOOK} in the lab"):
        print(printed(lab.run_notebook(NOTEBOOK)))
    width = max(len(what) for what, _ in times)
    print("Seconds:")
    for what, seconds in [*times, ("all", sum(seconds for _, seconds in times))]:
        print(f"  {what:<{width}} {seconds:6.1f}")
    print(f"\nThe notebook, with its plot, is saved in {folder / NOTEBOOK}. To stop the lab, run 'make demo-down'.")
    make(folder, "url")


def render(folder: Path) -> None:
    """Render a project with default answers. An existing project does not change."""
    if (folder / ".copier-answers.yml").exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty and contains no project. Run 'make demo DIR=FOLDER' with another folder.")
    data = {"project_name": "Iris demo"}
    copier.run_copy(str(ROOT), folder, data=data, defaults=True, quiet=True, vcs_ref="HEAD")
    print(f"Rendered a project into {folder}.", flush=True)


def running_lab(folder: Path) -> LabClient:
    """The lab of the project in `folder`."""
    command = ["docker", "compose", "port", "server", "8888"]
    address = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=True).stdout.strip()
    return LabClient(f"http://{address}", (folder / "secrets/jupyter_token").read_text().strip())


def make(folder: Path, target: str) -> None:
    """Run a target of the project's own Makefile. Raises `Refused` if the target fails."""
    if subprocess.run(["make", "--no-print-directory", target], cwd=folder).returncode:
        raise Refused(f"'make {target}' failed in {folder}. Read its error in the lines above.")


def down(folder: Path) -> None:
    """Stop the lab in `folder`, remove its image, network and folder."""
    if not (folder / ".copier-answers.yml").exists():
        raise Refused(f"{folder} contains no project, so nothing was removed. Run 'make demo-down DIR=FOLDER'.")
    if subprocess.run(["docker", "compose", "down", "--rmi", "all", "--volumes"], cwd=folder).returncode:
        raise Refused(f"the lab in {folder} could not be stopped. Read the error of Docker in the lines above.")
    shutil.rmtree(folder)
    print(f"Removed the lab and {folder}. The engine still runs. 'make engine-down' stops it.")


def main() -> None:
    """The command line."""
    action, folder = sys.argv[1:]
    # These flags belong to the `make` that called this program. The project's `make` must not get them.
    os.environ.pop("MAKEFLAGS", None)
    try:
        {"render": render, "up": up, "down": down}[action](Path(folder).resolve())
    except Refused as refused:
        sys.exit(f"labdock: {refused}")


if __name__ == "__main__":
    main()
