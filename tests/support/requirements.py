"""What a test needs of the machine. Locally, a test is skipped if it is missing. In CI, the test fails."""

import os
from typing import Any

import pytest

import engine as container_engine


def lacking(reason: str) -> None:
    """Skip the test locally, and fail it in CI: a skipped test would hide a gap there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def require_python(answers: dict[str, Any]) -> str:
    """The Python of a project with these answers; skips the test if its base image is not available."""
    version = answers.get("python_version", "3.13")
    state = container_engine.up([version])[version]
    if state != "ready":
        pytest.skip(f"python {version}: {state}")
    return version
