"""A rendered project. Tests use it like a user, with make, docker compose and the lab's HTTP API."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support import shared
from tools.notebook import LabClient


@dataclass
class Project:
    """A project rendered into `folder` with `answers` (defaults included)."""

    folder: Path
    answers: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    # --- commands ---------------------------------------------------------------------------------
    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `command` in the project's folder. If it fails and `check` is set, raise an error with its output."""
        env = {**os.environ, **self.environment}
        done = subprocess.run(command, cwd=self.folder, env=env, text=True, capture_output=True, **options)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def make(self, target: str, *variables: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("make", "--no-print-directory", target, *variables, check=check)

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("docker", "compose", *arguments, check=check)

    # --- files ------------------------------------------------------------------------------------
    def read(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace `old` in a file. The file must contain `old`, because an edit without effect proves nothing."""
        text = self.read(path)
        assert old in text, f"{path} does not contain {old!r}"
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")

    def set_env(self, **settings: str) -> None:
        """Append settings to .env. If a name has several lines, the last line counts."""
        with (self.folder / ".env").open("a") as env:
            env.writelines(f"{name}={value}\n" for name, value in settings.items())

    def files(self) -> set[str]:
        """Every file, relative to the folder, except those in .git."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if path.parts[0] != ".git"}

    def commit(self, message: str = "work") -> None:
        """Commit everything. If there is no repository, make one first."""
        if not (self.folder / ".git").exists():
            self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)

    # --- the lab ----------------------------------------------------------------------------------
    def config(self) -> dict[str, Any]:
        """The project's configuration, as Compose resolves it."""
        return json.loads(self.compose("config", "--format", "json").stdout)

    def service(self, name: str = "lab") -> dict[str, Any]:
        """A service as it stands in compose.yaml."""
        return yaml.safe_load(self.read("compose.yaml"))["services"][name]

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the project, running or not, as `docker inspect` shows it."""
        ids = self.ids()
        return json.loads(self.run("docker", "inspect", *ids).stdout) if ids else []

    def ids(self, *labels: str) -> list[str]:
        """The ids of the containers with these Compose labels, such as `service=lab`. Faster than `compose ps`."""
        labels = (f"project={self.compose_name()}", "oneoff=False", *labels)
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return self.run("docker", "ps", "--all", "--quiet", *filters).stdout.split()

    def container(self, service: str = "lab") -> dict[str, Any]:
        """The container of `service`, as `docker inspect` shows it."""
        (found,) = (c for c in self.containers() if c["Config"]["Labels"]["com.docker.compose.service"] == service)
        return found

    def up(self) -> LabClient:
        """Run `make up` and return the running lab."""
        self.make("up")
        return self.client()

    def start(self) -> LabClient:
        """Build and start the lab with Compose alone. This is quicker than `up`, without the checks of `make up`."""
        self.compose("up", "--detach", "--wait", "--build")
        return self.client()

    def serve(self) -> None:
        """Start the lab with the image and the token that exist, without `prepare`. This is quicker than `start`."""
        self.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "server", "lab")

    def serve_again(self) -> None:
        """Do the same as `serve`, in new containers."""
        self.run("docker", "rm", "--force", *self.ids("service=lab"), *self.ids("service=server"))
        self.serve()

    def compose_name(self) -> str:
        """The project's name for Compose, from a variable, the last LAB_NAME in .env, or the slug (in this order)."""
        for variable in ("COMPOSE_PROJECT_NAME", "LAB_NAME"):
            if name := self.environment.get(variable):
                return name
        env = self.folder / ".env"
        found = re.findall(r"^LAB_NAME=(.+)", env.read_text() if env.exists() else "", re.MULTILINE)
        return found[-1] if found else self.answers["project_slug"]

    def client(self) -> LabClient:
        (server,) = self.ids("service=server") or self.ids("service=lab")  # v0.2.0 and older have one container
        address = self.run("docker", "port", server, "8888").stdout.split()[0]
        scheme = "http" if self.answers.get("tls", "none") == "none" else "https"  # v0.3.0 and older have no answer
        return LabClient(f"{scheme}://{address}", (self.folder / "secrets/jupyter_token").read_text().strip())

    def shell(self, script: str, service: str = "lab") -> str:
        """Run a script in a container, as the lab's user, and return its output."""
        (container,) = self.ids(f"service={service}")
        return self.run("docker", "exec", container, "sh", "-c", script).stdout

    def logs(self) -> str:
        return self.compose("logs", "--no-log-prefix", "--no-color", check=False).stdout

    def down(self, *options: str) -> None:
        """Remove containers, networks and volumes. The image stays until the end of the session.

        If an image is removed while a build unpacks layers of this image, the build can fail.
        """
        shared.leave(self.compose_name())
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "0", *options, check=False)


Render = Callable[..., Project]
