"""The steps of a GitHub workflow, run on this machine with a stand-in for GitHub's own command."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.runner import command, jobs


def job(workflow: Path, name: str) -> list[dict[str, Any]]:
    """The steps of a job that run a script."""
    return [step for step in jobs(workflow.read_text())[name]["steps"] if "run" in step]


@dataclass
class Runner:
    """Runs steps in `checkout`, as GitHub does; a program `gh` writes its calls down and is the script `gh`."""

    checkout: Path
    bin: Path
    gh: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin.mkdir(exist_ok=True)
        self.program("gh", f'echo "$*" >>"{self.bin}/calls"\n{self.gh}')

    def program(self, name: str, script: str) -> None:
        """Put a program on the runner's path."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def calls(self) -> list[str]:
        """What `gh` was asked for, one call a line."""
        file = self.bin / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, steps: list[dict[str, Any]], **context: str) -> subprocess.CompletedProcess[str]:
        """Run the steps until one fails; what they said. `context`: the values of a step's env that are expressions."""
        said = ""
        for step in steps:
            settings = {name: context[name] if "${{" in str(v) else str(v) for name, v in step.get("env", {}).items()}
            own = {"PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}", "GITHUB_ACTIONS": "true"}
            done = subprocess.run(
                command(step), cwd=self.checkout, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, **own, **self.environment, **settings},
            )  # fmt: skip
            said += done.stdout
            if done.returncode:
                break
        return subprocess.CompletedProcess([], done.returncode, said, "")
