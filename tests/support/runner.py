"""A forge's runner: it does the `run:` steps of a workflow on this machine, one after the other, as the forge does."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import Project

# How the forge calls the shell that a step names, and the one that it takes where none is named.
SHELLS = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}


def jobs(text: str) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow, each step with its shell; no script of it stands anywhere but in their steps."""
    workflow = yaml.safe_load(text)
    found = workflow["jobs"]
    steps = [step for job in found.values() for step in job["steps"] if "run" in step]
    assert len(steps) == len(re.findall(r"^ +(?:- )?run: *\S", text, re.MULTILINE))
    for job in found.values():
        defaults = {**workflow.get("defaults", {}).get("run", {}), **job.get("defaults", {}).get("run", {})}
        for step in job["steps"]:
            step.setdefault("shell", defaults.get("shell", ""))
    return found


def command(step: dict[str, Any]) -> list[str]:
    """What the forge runs for a `run:` step."""
    return [*SHELLS[step["shell"]], "-c", step["run"]]


def resolved(text: str, expressions: Mapping[str, str]) -> str:
    """`text` with each `${{ ... }}` replaced."""
    return re.sub(r"\$\{\{ *(.+?) *\}\}", lambda found: expressions[found[1]], text)


@dataclass
class Runner:
    """Runs jobs in `project`. What is the runner's own lies in `home`; `expressions` are what `${{ ... }}` become."""

    project: Project
    home: Path
    expressions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A Python of the job's own, as actions/setup-python brings it."""
        subprocess.run([sys.executable, "-m", "venv", self.home / "python"], check=True)
        for name in ("output", "env", "path", "summary"):
            (self.home / name).touch()

    def environment(self, *given: Mapping[str, str]) -> dict[str, str]:
        """What a step of the forge finds, and what the workflow gives it; an expression that nobody named fails."""
        forge = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "somebody",
            "GITHUB_REPOSITORY": "Somebody/Iris-Study",
            "GITHUB_SHA": self.project.run("git", "rev-parse", "HEAD").stdout.strip(),
            "GITHUB_REF_NAME": "main",
            "GITHUB_OUTPUT": str(self.home / "output"),
            "GITHUB_STEP_SUMMARY": str(self.home / "summary"),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "PRE_COMMIT_HOME": str(self.home / "pre-commit"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "PATH": f"{self.home}/python/bin:{os.environ['PATH']}",
        }
        for values in given:
            forge |= {name: resolved(value, self.expressions) for name, value in values.items()}
        return forge

    def step(self, job: dict[str, Any], step: dict[str, Any], **more: str) -> subprocess.CompletedProcess[str]:
        """One `run:` step, by the shell that the forge takes."""
        env = {**os.environ, **self.environment(job.get("env", {}), step.get("env", {})), **more}
        return subprocess.run(command(step), cwd=self.project.folder, env=env, text=True, capture_output=True)

    def outputs(self) -> dict[str, str]:
        """What steps wrote for later ones."""
        return dict(line.split("=", 1) for line in (self.home / "output").read_text().splitlines())
