"""Fake programs on an otherwise empty PATH: no test reaches the running engine."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DOCKER = """
case "$*" in
  "version --format"*) echo {engine} ;;
  "compose version"*) echo {compose} ;;
  "buildx version"*) echo "a-name v{buildx} a-commit" ;;
  "context inspect"*) echo unix:///run/docker.sock ;;
  "image inspect"*) {image} ;;
  "pull "*) {pull} ;;
  *) exit 1 ;;
esac
"""


class Programs:
    """Fake programs on the PATH; each call is recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.record = folder / "calls"
        self.folder.mkdir()
        self.record.touch()

    def add(self, name: str, body: str) -> None:
        """A program that records its call, then runs `body` (shell)."""
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >>"{self.record}"\n{body}\n')
        program.chmod(0o755)

    def docker(
        self, engine: str = "28.0.1", compose: str = "2.40.3", buildx: str = "0.20.1",
        image: str = "exit 1", pull: str = "exit 1",
    ) -> None:  # fmt: skip
        """A client with these versions. `docker image inspect` runs `image`, and `docker pull` runs `pull`."""
        self.add("docker", DOCKER.format(**locals()))

    @property
    def calls(self) -> list[str]:
        return self.record.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    fakes = Programs(tmp_path)
    monkeypatch.setenv("PATH", str(fakes.folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return fakes


@pytest.fixture
def os_release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that the machine has this /etc/os-release."""

    def pretend(**fields: str) -> None:
        monkeypatch.setattr("platform.freedesktop_os_release", lambda: fields)

    return pretend


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `python3 -m engine …` in this process; return its exit status."""
    from engine.__main__ import main

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["engine", *arguments])
        return main()

    return call
