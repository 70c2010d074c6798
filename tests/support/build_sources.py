"""Replacements for a build's environment: a registry, a Debian mirror, and programs on the PATH."""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from engine.common import Refused
from engine.debian import Apt
from tests.support.project import Project
from tests.support.requirements import lacking
from tests.support.waiting import until

PROGRAM = "usr/bin/docker-registry"
CONFIG = """
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
GUARDED = """
auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}
"""


@contextmanager
def registry(folder: Path, port: int, user: tuple[str, str] | None = None) -> Iterator[str]:
    """Run Debian's docker-registry on a port of 127.0.0.1, with its images in `folder`. Yields its address.

    `user` is a name and a password. If it is set, the registry accepts only this login.
    """
    fetch_registry(folder)
    with running_registry(folder, port, user) as address:
        yield address


def fetch_registry(folder: Path) -> None:
    try:
        Apt(folder).unpack(["docker-registry/testing"], folder / "packages")
    except Refused as refused:
        lacking(f"no registry to test with: {refused}")


@contextmanager
def running_registry(folder: Path, port: int, user: tuple[str, str] | None = None) -> Iterator[str]:
    """As `registry`, with the program that `fetch_registry` unpacked."""
    config = folder / "registry.yml"
    config.write_text((CONFIG + (GUARDED if user else "")).format(folder=folder, port=port))
    if user:
        hashed = subprocess.run(
            ["perl", "-e", 'print crypt(shift, q($2y$05$) . "labdock" x 3 . ".")', user[1]],
            check=True,
            text=True,
            capture_output=True,
        )
        (folder / "users").write_text(f"{user[0]}:{hashed.stdout}\n")
    process = subprocess.Popen([folder / "packages" / PROGRAM, "serve", config], stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/v2/"), "the registry answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).status_code in (200, 401)
    except requests.ConnectionError:
        return False


class Quiet(SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Serve the files of `folder` over HTTP, on any free port of `address`. Yields the URL."""
    server = ThreadingHTTPServer((address, 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def package(folder: Path, name: str, version: str) -> None:
    """Build an empty Debian package in `folder`."""
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.com>\n"
    (tree / "DEBIAN/control").write_text(f"{control}Description: nothing at all\n")
    subprocess.run(["dpkg-deb", "--build", tree, folder / f"{name}_{version}.deb"], check=True, capture_output=True)


def publish(folder: Path, *archives: str) -> None:
    """Make `folder` a Debian mirror. Its suite `stable` contains these archives from `folder`."""
    entries = []
    for archive in archives:
        fields = subprocess.run(["dpkg-deb", "--field", folder / archive], check=True, text=True, capture_output=True)
        content = (folder / archive).read_bytes()
        found = f"Filename: {archive}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        entries.append(fields.stdout + found)
    index = "\n".join(entries).encode()
    suite = folder / "dists/stable"
    (suite / "main/binary-all").mkdir(parents=True, exist_ok=True)
    listed = []
    for architecture in ("all", "amd64", "arm64"):
        path = suite / f"main/binary-{architecture}/Packages"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(index if architecture == "all" else b"")
        content = path.read_bytes()
        listed.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {path.relative_to(suite)}\n")
    head = "Suite: stable\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nComponents: main\nArchitectures: all amd64 arm64\n"
    (suite / "Release").write_text(f"{head}SHA256:\n{''.join(listed)}")


def stand_in(project: Project, folder: Path, program: str, script: str) -> None:
    """Replace `program` on the project's PATH. The replacement runs `script` and then the real program.

    The replacement is in `folder`.
    """
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(f'#!/bin/sh\n{script}\nexec {shutil.which(program) or "false"} "$@"\n')
    (folder / program).chmod(0o755)
    path = project.environment.get("PATH", os.environ["PATH"])
    project.environment["PATH"] = path if path.startswith(f"{folder}:") else f"{folder}:{path}"
