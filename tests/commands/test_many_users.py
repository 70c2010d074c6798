"""Several users of one machine, each with a clone of the same project."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.attack.test_neighbours import reached, ways
from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tools.notebook import LabClient

UIDS = (4001, 4002, 4003, 4004)


class UsersCheckout(Project):
    """A clone in the home of an ordinary user, who runs all commands."""

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        uid = self.answers["uid"]
        group = Path("/var/run/docker.sock").stat().st_gid  # it may use the engine
        return super().run("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}", *command, **options)


@pytest.fixture(scope="module")
def checkouts(default_image: None, render: Render) -> Iterator[list[UsersCheckout]]:
    """Clones of one project in the homes of four users. All of their labs run. Two users want any free port."""
    if os.geteuid():
        lacking("only root can act as several users")
    origin = render(project_name="Study")
    origin.commit()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        found = []
        for uid in UIDS:
            home = Path(name, f"user-{uid}")
            folder = home / "study"
            subprocess.run(["git", "clone", "--quiet", origin.folder, folder], check=True)
            subprocess.run(["chown", "-R", f"{uid}:{uid}", home], check=True)
            each = UsersCheckout(folder, {"uid": uid}, {**origin.environment, "HOME": str(home)})
            each.environment.pop("JUPYTER_PORT", None)
            each.make("env")
            if uid % 2:
                each.set_env(JUPYTER_PORT="0")
            found.append(each)
            stack.callback(each.down, "--rmi", "local")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda each: each.make("up"), found))
        yield found


@pytest.mark.full
def test_checkouts_of_several_users_run_side_by_side(checkouts: list[UsersCheckout]) -> None:
    """Nothing of one is of another, and each user owns what their lab writes."""
    assert len({each.compose_name() for each in checkouts}) == len(UIDS)
    assert len({each.client().address for each in checkouts}) == len(UIDS)
    for kind in ("volume", "network", "container"):
        belongs = [
            each.run("docker", kind, "ls", "--quiet", "--filter", label(each)).stdout.split() for each in checkouts
        ]
        assert all(belongs) and sum(map(len, belongs)) == len(set().union(*belongs)), kind
    for uid, each in zip(UIDS, checkouts, strict=True):
        each.client().run("open('mine.txt', 'w').write('mine')")
        written = [each.folder / "notebooks/mine.txt", each.folder / "secrets/jupyter_token"]
        assert [path.stat().st_uid for path in written] == [uid, uid]


def label(project: Project) -> str:
    return f"label=com.docker.compose.project={project.compose_name()}"


@pytest.mark.full
@pytest.mark.attack(
    "As one of several users of a machine, use another user's lab: read its token file, log in with the own token, "
    "and connect to its server from a notebook",
    "The file cannot be read, the token is refused, and no connection opens.",
)
def test_a_user_cannot_use_the_lab_of_another(checkouts: list[UsersCheckout]) -> None:
    """The control: each user reads their own token, and logs in with it."""
    for one, other in permutations(checkouts, 2):
        token = other.folder / "secrets/jupyter_token"
        assert one.run("cat", str(token), check=False).returncode != 0
        assert one.run("cat", "secrets/jupyter_token").stdout.strip() == one.client().token
        assert one.client().request("GET", "status").ok
        with pytest.raises(requests.HTTPError, match="403"):
            LabClient(other.client().address, one.client().token).request("GET", "status")
        assert reached(one, ways(other, one)) == []
