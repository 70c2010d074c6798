"""The parts that every module of this package uses: the error, commands, progress and the lock."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Refused(Exception):
    """One sentence that names the problem, the value, and the command that fixes the problem."""


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command. If the program is missing or times out, the result has a status that is not 0."""
    args = [str(part) for part in command]
    try:
        return subprocess.run(
            args,
            env=env,
            cwd=cwd,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(args, 127, "", f"{args[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(args, 124, "", f"{args[0]} took over {seconds} s")


def must(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command that must succeed. Return its output."""
    done = run(*command, env=env, cwd=cwd)
    if done.returncode:
        raise Refused(f"{Path(done.args[0]).name} failed: {reason(done.stderr)}")
    return done.stdout


def reason(text: str) -> str:
    """The line of an error output that says what went wrong. This is the first line with `E:`, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    return next((line for line in lines if line.startswith("E:")), lines[-1])


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print to stderr the name of a step, and how long the step took. Other programs may print in between."""
    print(f"engine: {what} …", file=sys.stderr, flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"engine: {what}: failed", file=sys.stderr)
        raise
    print(f"engine: {what}: {time.monotonic() - begin:.1f} s", file=sys.stderr)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Let one process at a time work on `root`. Otherwise, two processes could start two engines."""
    path = Path(f"{root}.lock")
    while True:
        root.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The previous process may have removed the file. Then another process could lock a new file.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle.fileno())):
                yield
                return
