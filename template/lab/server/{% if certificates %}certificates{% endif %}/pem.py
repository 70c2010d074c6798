"""Reads certificates and keys."""

import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def openssl(*words: str | Path) -> str | None:
    """What `openssl` prints, or None if it fails."""
    done = subprocess.run(["openssl", *words], check=False, capture_output=True, text=True)
    return None if done.returncode else done.stdout


def read_certificate(file: Path) -> tuple[datetime, datetime, list[str]] | None:
    """Start, end and names of a certificate, or None if the file contains no certificate."""
    shown = openssl("x509", "-in", file, "-noout", "-startdate", "-enddate", "-ext", "subjectAltName")
    if shown is None:
        return None
    dates = re.findall(r"^not(?:Before|After)=(.*) GMT$", shown, re.MULTILINE)
    start, end = (datetime.strptime(date, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC) for date in dates)
    return start, end, re.findall(r"(?:DNS|IP Address):([^,\s]+)", shown)


def unreadable(file: Path, name: str, uid: int, fix: str) -> str | None:
    """What is wrong with a file, apart from its content. `name` is its path in the project."""
    if file.is_symlink() and not file.exists():
        return (
            f"{name} is a link to '{file.readlink()}', which the lab does not see. Replace it with a copy of the file."
        )
    if file.is_dir():
        return f"{name} is a folder. Run 'sudo rmdir {name}'. {fix}"
    if not file.exists():
        return f"{name} is missing. {fix}"
    found = file.stat()
    mode = found.st_mode & 0o777
    if not os.access(file, os.R_OK):
        return (
            f"{name} belongs to uid {found.st_uid} and has the mode {mode:o}, so the lab, which runs as uid {uid}, "
            f"cannot read this file. Run 'sudo chown {uid} {name}'."
        )
    if file.suffix == ".key" and mode & 0o077 and not without_modes(file):
        return (
            f"{name} has the mode {mode:o}, so other users of this machine can read this key. Run 'chmod 600 {name}'."
        )
    return None


def without_modes(file: Path) -> bool:
    """Is the file on a disk of Windows? There, every file has the mode 777, and other rules decide who reads it."""
    shown = subprocess.run(["stat", "-f", "-c", "%T", file], check=False, capture_output=True, text=True)
    return shown.stdout.strip() == "v9fs"
