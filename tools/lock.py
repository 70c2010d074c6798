"""Resolve every lock again: `python -m tools.lock [NAME ...]`. `make lock` runs this.

A lock contains versions and hashes for every platform, for the oldest Python of this lock (see `LOCKS`) and for all
later ones. It names no package index, so its packages can come from any mirror. The versions come from the package
index in this machine's settings.
"""

import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.12"
# Files with packages that a lock leaves out, although another package requires them.
EXCLUDES = {"server": ROOT / "template/lab/locks/excluded-packages.txt", "dev": ROOT / "locks/exclude-dev.in"}
# Files that repeat versions of requirements-dev.lock. This repository's own workflows are not in the list, because the
# workflow that runs `make lock` has no permission to change them.
PINNED = (".pre-commit-config.yaml", "template/.pre-commit-config.yaml", "template/*/workflows/*.yml")


def packages(environment: str, gpu: str = "none", scale_out: str = "none") -> str:
    """The requirements of a new project with these answers, one per line."""
    template = jinja2.Template((ROOT / "template/pyproject.toml.jinja").read_text(), trim_blocks=True)
    answers = {"environment": environment, "gpu": gpu, "scale_out": scale_out, "license": "none"}
    return "\n".join(tomllib.loads(template.render(answers))["project"]["dependencies"])


# name -> the lock, the function that returns its requirements, the oldest Python
LOCKS = {
    "server": ("template/lab/locks/server.lock", (ROOT / "locks/server.in").read_text, OLDEST_PYTHON),
    "build": ("template/lab/locks/build.lock", (ROOT / "locks/build.in").read_text, OLDEST_PYTHON),
    "sbom": ("template/lab/locks/sbom.lock", (ROOT / "locks/sbom.in").read_text, OLDEST_PYTHON),
    "lab-tests": ("template/tests/requirements.lock", (ROOT / "locks/lab-tests.in").read_text, "3.11"),
    "dev": ("requirements-dev.lock", (ROOT / "locks/dev.in").read_text, "3.11"),
    "tensorflow-nvidia": (
        "locks/tensorflow-nvidia.lock",
        partial(packages, "tensorflow", "nvidia"),
        OLDEST_PYTHON,
    ),
    **{
        environment: (f"locks/{environment}.lock", partial(packages, environment), OLDEST_PYTHON)
        for environment in ("minimal", "science", "science-full", "tensorflow", "pytorch", "spark")
    },
    # science-full has Dask in any case.
    **{
        f"{environment}-dask": (
            f"locks/{environment}-dask.lock",
            partial(packages, environment, scale_out="dask"),
            OLDEST_PYTHON,
        )
        for environment in ("science", "tensorflow", "pytorch")
    },
    "tensorflow-nvidia-dask": (
        "locks/tensorflow-nvidia-dask.lock",
        partial(packages, "tensorflow", "nvidia", "dask"),
        OLDEST_PYTHON,
    ),
}


def main(names: list[str]) -> None:
    """Write the named locks, or all locks. Stop at the first lock that cannot be resolved."""
    for name in names or LOCKS:
        target, requirements, python = LOCKS[name]
        print(f"{target} …", flush=True)
        command = [
            *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"),
            *("--python-version", python, "--no-python-downloads", "--upgrade"),
            *("--excludes", EXCLUDES.get(name, Path("/dev/null"))),
            *("-", "--output-file", ROOT / target),
        ]
        subprocess.run(command, input=requirements(), text=True, check=True, stdout=subprocess.DEVNULL)
    repin()


def repin() -> None:
    """Write the versions of requirements-dev.lock into the files in PINNED."""
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE))
    for path in (path for pattern in PINNED for path in ROOT.glob(pattern)):
        text = path.read_text()
        new = re.sub(r"\b([a-z0-9-]+)==([\w.]+)", lambda pin: f"{pin[1]}=={locked.get(pin[1], pin[2])}", text)
        path.write_text(new)


if __name__ == "__main__":
    main(sys.argv[1:])
