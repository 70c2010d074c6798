"""If a tool is missing, the test is skipped locally and fails in CI.

`require_python` is different. It always skips the test if there is no base image.
"""

import os
from typing import Any

import pytest

import engine as container_engine


def lacking(reason: str) -> None:
    """Skip the test locally. In CI, fail the test, because a skipped test would hide a gap."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def require_python(answers: dict[str, Any]) -> str:
    """The Python of a project with these answers. Skips the test if its base image is not available."""
    version = answers.get("python_version", "3.13")
    state = container_engine.up([version])[version]
    if state != "ready":
        pytest.skip(f"python {version}: {state}")
    return version
