"""Install the tools of requirements-dev.lock into .venv: `python3 -m tools.install`, as make does.

pip installs uv, and uv installs the rest, because uv is faster. Both check every hash. uv gets pip's settings for the
index, the other sources and the certificates. This program needs the standard library only.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

from engine.machine import pip_setting

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"
FOLDER = ROOT / ".venv"
# pip's settings -> uv's variables
SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def uv_settings() -> dict[str, str]:
    """uv's variables for the settings of pip. Variables that are set already do not change."""
    given = {theirs: pip_setting(ours, os.environ) for ours, theirs in SETTINGS.items()}
    # pip takes a version from any of its indexes. The hashes make that safe.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match"} | {
        name: " ".join(value.split()) for name, value in given.items() if value and name not in os.environ
    }


def uv_requirement() -> str:
    """uv's lines of the lock."""
    (lines,) = re.findall(r"^uv==.*\n(?: .*\n)+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return lines


def main() -> None:
    """Make a new environment. If a tool cannot be installed, end with an error."""
    venv.create(FOLDER, clear=True, with_pip=True)
    programs = FOLDER / ("Scripts" if os.name == "nt" else "bin")
    alone = FOLDER / "uv.lock"
    alone.write_text(uv_requirement(), encoding="utf-8")
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    done = subprocess.run([*pip, "--requirement", alone])
    if not done.returncode:
        options = ("--quiet", "--require-hashes", "--python", programs / "python")
        command = [programs / "uv", "pip", "sync", *options, LOCK]
        done = subprocess.run(command, cwd=FOLDER, env={**os.environ, **uv_settings()})
    if done.returncode:
        sys.exit("labdock: the tools cannot be installed into .venv. Read pip's or uv's error in the lines above.")


if __name__ == "__main__":
    main()
