"""A lab with `network: allowlist` in the Docker engine of an ordinary user: only listed domains are reached."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.attack.test_walls import outside  # noqa: F401 (a fixture)
from tests.support.project import Render
from tests.support.rootless import RootlessUser, UsersProject, load, save
from tests.support.sentinel import Sentinel

pytestmark = [pytest.mark.full, pytest.mark.parametrize("kind", ["docker"], indirect=True, scope="module")]

# Prints whether a connection to an address opens, without the proxy.
DIRECT = """
import socket
try:
    socket.create_connection((address, 443), timeout=5)
    print("open")
except OSError:
    print("closed")
"""


@pytest.fixture(scope="module")
def walled(
    user: RootlessUser,
    new_project: Render,
    outside: Sentinel,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[UsersProject]:
    """The user's lab. Its containers ask the other machine for names."""
    built = new_project(network="allowlist")
    built.compose("build", "lab")
    archive = tmp_path_factory.mktemp("image") / "lab.tar"
    name = built.config()["services"]["lab"]["image"]
    save(name, archive)
    load(user, archive)
    archive.unlink()
    folder = user.home / "walled"
    shutil.copytree(built.folder, folder)
    (folder / ".env").unlink()
    (folder / "egress/allowlist.txt").write_text("listed.example\n")
    names = {service: {"dns": outside.unlisted} for service in ("lab", "egress")}
    (folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": names}))
    shutil.copy(outside.ca, folder / "ca.pem")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.uid, user.uid)
    project = UsersProject(folder, built.answers, {"LAB_CA_BUNDLE": str(folder / "ca.pem")}, user=user)
    project.make("env")
    project.set_env(JUPYTER_PORT="0")
    user.run("docker", "tag", name, project.config()["services"]["lab"]["image"])
    project.compose("up", "--detach", "--no-build", "--wait")
    yield project
    project.down()


def curl(lab: UsersProject, url: str) -> str:
    return lab.shell(f"curl --silent --show-error --max-time 20 {url} 2>&1 || true")


def test_only_listed_domains_are_reached(walled: UsersProject, outside: Sentinel) -> None:  # noqa: F811
    """The control: the listed domain is on the same machine, and the proxy itself reaches it."""
    assert curl(walled, "http://listed.example/") == curl(walled, "https://listed.example/") == "arrived"
    before = outside.arrived(outside.unlisted)
    assert "unlisted.example is not in egress/allowlist.txt" in curl(walled, "http://unlisted.example/")
    assert outside.arrived(outside.unlisted) == before


def test_nothing_leaves_past_the_proxy(walled: UsersProject, outside: Sentinel) -> None:  # noqa: F811
    """The control: from the proxy, the same connection opens."""
    code = f"address = {outside.listed!r}\n{DIRECT}"
    before = outside.arrived(outside.listed)
    assert walled.client().run(code) == "closed\n"
    assert outside.arrived(outside.listed) == before
    walled_proxy = ["docker", "exec", "--interactive", *walled.ids("service=egress"), "/opt/jupyter/bin/python", "-"]
    assert walled.run(*walled_proxy, input=code).stdout == "open\n"
    assert outside.arrived(outside.listed) > before


def test_the_record_belongs_to_the_user(walled: UsersProject, user: RootlessUser) -> None:
    curl(walled, "http://listed.example/")
    files = [path for path in Path(walled.folder, "egress/log").iterdir() if path.suffix == ".jsonl"]
    assert files and all(user.owns(file) for file in files)
    assert "FIX" not in walled.make("doctor").stdout
