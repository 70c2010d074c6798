"""Finds the jobs of a GitHub workflow that run for an event, and runs their steps on this machine.

A step's script runs as GitHub runs it. An action (`uses:`) does nothing here, except that artifacts are kept. The
program `gh` is a stand-in that writes its calls down.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# Shell that a step names -> GitHub's command for this shell. "" is the command if a step names no shell.
SHELLS = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"], "python": ["python"]}
# Contexts in which GitHub reads an unknown name as empty text. Here, an unknown name in any other context is an error.
OPTIONAL = {"vars", "secrets", "outputs"}
TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||[=!]=|[!(),]|[A-Za-z_][\w.*-]*)")
FUNCTIONS = {"join": lambda values, by: by.join(values)}
STATUS = re.compile(r"\b(always|cancelled|failure|success)\(\)")


# --- expressions ----------------------------------------------------------------------------------------
class Expression:
    """The expression inside `${{ }}`. `value` is its result. A name that `contexts` lack raises `KeyError`."""

    def __init__(self, text: str, contexts: Mapping[str, Any]) -> None:
        self.tokens = TOKEN.findall(text)
        if TOKEN.sub("", text).strip():
            raise ValueError(f"not understood: {text}")
        self.contexts = contexts
        self.value = self.either()
        if self.tokens:
            raise ValueError(f"not understood: {text}")

    def take(self, *wanted: str) -> str:
        """The next token if it is one of `wanted`, or ''."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else ""

    def either(self) -> Any:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> Any:
        value = self.compared()
        while self.take("&&"):
            other = self.compared()
            value = value and other
        return value

    def compared(self) -> Any:
        value = self.single()
        if sign := self.take("==", "!="):
            return (value == self.single()) is (sign == "==")
        return value

    def single(self) -> Any:
        if self.take("!"):
            return not self.single()
        if self.take("("):
            value = self.either()
            assert self.take(")")
            return value
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self.take("("):
            arguments = []
            while not self.take(")"):
                arguments.append(self.either())
                self.take(",")
            return self.contexts["functions"][token](*arguments)
        return self.named(token)

    def named(self, name: str) -> Any:
        first, *path = name.split(".")
        value = self.contexts[first]
        for parent, key in zip([first, *path], path, strict=False):
            if key == "*":
                value = list(value.values())
            elif isinstance(value, list):
                value = [each[key] for each in value]
            else:
                value = "" if parent in OPTIONAL and key not in value else value[key]
        return value


def resolved(text: str, contexts: Mapping[str, Any]) -> str:
    """`text` with each `${{ ... }}` replaced."""

    def value(found: re.Match[str]) -> str:
        result = Expression(found[1], contexts).value
        return str(result).lower() if isinstance(result, bool) else str(result)

    contexts = {"functions": FUNCTIONS, **contexts}
    return re.sub(r"\$\{\{(.+?)\}\}", value, text)


def wanted(condition: str, contexts: Mapping[str, Any], status: str) -> bool:
    """Does a job or step with this `if:` run? `status` is the result of the previous jobs or steps."""
    condition = re.sub(r"^\s*\$\{\{(.*)\}\}\s*$", r"\1", str(condition), flags=re.DOTALL) or "success()"
    functions = {
        "always": lambda: True,
        "cancelled": lambda: False,
        "success": lambda: status == "success",
        "failure": lambda: status == "failure",
        **FUNCTIONS,
    }
    if not STATUS.search(condition) and status != "success":
        return False
    return bool(Expression(condition, {**contexts, "functions": functions}).value)


# --- workflows ------------------------------------------------------------------------------------------
class Workflow:
    """A parsed workflow. `on` contains its events, and `jobs` its jobs. Each script in `jobs` has its shell."""

    def __init__(self, text: str) -> None:
        parsed = yaml.safe_load(text)
        self.on: dict[str, Any] = parsed.get(True) or {}  # YAML 1.1 reads `on` as true
        self.jobs: dict[str, dict[str, Any]] = parsed["jobs"]
        # All scripts are in steps.
        steps = [step for job in self.jobs.values() for step in job.get("steps", []) if "run" in step]
        assert len(steps) == len(re.findall(r"^ +(?:- )?run: *\S", text, re.MULTILINE))
        for job in self.jobs.values():
            defaults = {**parsed.get("defaults", {}).get("run", {}), **job.get("defaults", {}).get("run", {})}
            for step in job.get("steps", []):
                step.setdefault("shell", defaults.get("shell", ""))

    def needs(self, name: str) -> list[str]:
        """The jobs that a job names in `needs:`."""
        needs = self.jobs[name].get("needs", [])
        return [needs] if isinstance(needs, str) else needs

    def results(self, failing: Iterable[str] = (), **contexts: Any) -> dict[str, str]:
        """The result of each job in these contexts, if the jobs `failing` fail as soon as they run."""
        results: dict[str, str] = {}
        while len(results) < len(self.jobs):
            name = next(n for n in self.jobs if n not in results and set(self.needs(n)) <= results.keys())
            before = {each: {"result": results[each]} for each in self.needs(name)}
            ancestors = self.ancestors(name)
            status = next((s for s in ("failure", "skipped") if s in {results[each] for each in ancestors}), "success")
            if wanted(self.jobs[name].get("if", ""), {**contexts, "needs": before}, status):
                results[name] = "failure" if name in failing else "success"
            else:
                results[name] = "skipped"
        return results

    def ancestors(self, name: str) -> set[str]:
        """The jobs that a job waits for, directly or not."""
        direct = set(self.needs(name))
        return direct.union(*(self.ancestors(each) for each in direct))


def command(step: Mapping[str, Any], script: Path) -> list[str | Path]:
    """The command that GitHub runs for a `run:` step. The step's script is in the file `script`."""
    return [*SHELLS[step["shell"]], script]


# This part of the stand-in for `gh` copies the files that the jobs of this run uploaded.
DOWNLOAD = '"run download") mkdir -p "${7:-.}" && cp -r "$ARTIFACTS/$5/." "${7:-.}" ;;'


# --- runners --------------------------------------------------------------------------------------------
@dataclass
class HostedRunner:
    """A machine as GitHub lends it. It runs the steps in `workspace`. All other files are in `home`.

    `gh` is the script of the stand-in. `contexts` are the names for `${{ }}`, such as `github` and `secrets`.
    `environment` contains variables for every step. `python` is the folder of the programs that setup-python would
    install. Jobs of one workflow run share `home`, so that one job finds the artifacts of another.
    """

    workspace: Path
    home: Path
    gh: str = ""
    contexts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable).parent
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.home / "bin", self.home / "temp"):
            folder.mkdir(parents=True, exist_ok=True)
        self.contexts = {"secrets": {}, "vars": {}, **self.contexts}
        self.contexts["github"] = {"token": "t0ken", **self.contexts.get("github", {})}
        self.program("gh", f'echo "$*" >>"{self.home}/calls"\n{self.gh}')

    def program(self, name: str, script: str) -> None:
        """Put a program first on the path."""
        (self.home / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.home / "bin" / name).chmod(0o755)

    def calls(self) -> list[str]:
        """The calls of `gh`."""
        file = self.home / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, job: Mapping[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run each step of the job whose condition is true.

        Returns the output of all steps and the status of the first failed step.
        """
        steps: dict[str, Any] = {}
        output, returncode = "", 0
        for step in job["steps"]:
            contexts = {**self.contexts, "steps": steps}
            if not wanted(step.get("if", ""), contexts, "failure" if returncode else "success"):
                steps[step.get("id", "")] = {"outcome": "skipped", "outputs": {}}
                continue
            (self.home / "output").write_text("")
            status, said = self.step(job, step, contexts, environment)
            output, returncode = output + said, returncode or status
            outputs = dict(line.split("=", 1) for line in (self.home / "output").read_text().splitlines())
            outcome = "failure" if status else "success"
            steps[step.get("id", "")] = {"outcome": outcome, "outputs": outputs}
        self.contexts["steps"] = steps
        return subprocess.CompletedProcess([], returncode, output, "")

    def step(
        self, job: Mapping[str, Any], step: Mapping[str, Any], contexts: Mapping[str, Any], more: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run a step. Returns its status and output."""
        if "uses" in step:
            is_upload = step["uses"].startswith("actions/upload-artifact@")
            return self.upload(step["with"]) if is_upload else (0, "")
        script = self.home / "script"
        script.write_text(step["run"])
        self.ran.append(step["run"])
        own = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "somebody",
            "GITHUB_OUTPUT": str(self.home / "output"),
            "GITHUB_REPOSITORY": "Somebody/Iris-Study",
            "GITHUB_RUN_ID": "7",
            "GITHUB_SHA": contexts["github"].get("sha", ""),
            "RUNNER_TEMP": str(self.home / "temp"),
            "ARTIFACTS": str(self.home / "artifacts"),  # for the stand-in of `gh`
            "DOCKER_CONFIG": str(self.home / "docker"),
            "PATH": f"{self.home}/bin:{self.python}:{os.environ['PATH']}",
        }
        for settings in (job.get("env", {}), step.get("env", {})):
            own |= {name: resolved(str(value), contexts) for name, value in settings.items()}
        done = subprocess.run(
            command(step, script), cwd=self.workspace, env={**os.environ, **own, **self.environment, **more},
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    def upload(self, options: Mapping[str, Any]) -> tuple[int, str]:
        """Copy files in the same way as actions/upload-artifact.

        For a folder, copy its content, not the folder itself.
        """
        found = [path for name in options["path"].split() if (path := self.workspace / name).exists()]
        if not found and options.get("if-no-files-found", "warn") == "error":
            return 1, f"not found: {options['path']}\n"
        folder = self.home / "artifacts" / options["name"]
        for path in found:
            if path.is_dir():
                shutil.copytree(path, folder, dirs_exist_ok=True)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder)
        return 0, ""
