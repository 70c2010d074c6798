"""After a problem is fixed, the lab works again. And a lab works in any folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.project import Project, Render
from tests.support.refusal import answers, contents, left, refused
from tests.support.repository import ROOT
from tests.support.updates import RELEASES
from tests.support.waiting import crash, until
from tools.notebook import LabClient

DATA = ROOT / "tests/data"


# --- a lab that runs ------------------------------------------------------------------------------
@pytest.mark.full
def test_a_lab_whose_token_is_emptied_does_not_come_back_open(fresh_lab: Project) -> None:
    file = fresh_lab.folder / "secrets/jupyter_token"
    token = file.read_text().strip()

    def said() -> str:
        return fresh_lab.compose("logs", "--no-log-prefix", "server").stdout

    file.write_text("")
    assert fresh_lab.make("up", check=False).returncode != 0  # refused, and the running lab does not change
    assert answers(LabClient(fresh_lab.client().address, token)) == 200
    fresh_lab.run("docker", "restart", "--time", "2", fresh_lab.container("server")["Id"])
    until(lambda: "labdock: secrets/jupyter_token contains 0 characters" in said(), "it refuses")
    address = fresh_lab.client().address
    assert [answers(LabClient(address, each)) for each in ("", token)] == [None, None]
    assert said().count("labdock: ") == 1
    assert fresh_lab.container("server")["RestartCount"] == 0
    assert fresh_lab.container("server")["State"]["Running"]
    refusing = fresh_lab.container("server")["Id"]
    fresh_lab.run("docker", "kill", refusing)
    file.unlink()
    assert answers(fresh_lab.up()) == 200
    assert file.read_text().strip() != token
    assert fresh_lab.container("server")["Id"] != refusing  # its log ends in the old refusal


@pytest.mark.full
def test_a_lab_whose_token_is_deleted_gets_a_new_one(fresh_lab: Project) -> None:
    old = fresh_lab.client()
    (fresh_lab.folder / "secrets/jupyter_token").unlink()
    new = fresh_lab.up()
    assert new.token != old.token
    assert [answers(LabClient(new.address, token)) for token in (new.token, old.token)] == [200, 403]


@pytest.mark.nightly
def test_docker_start_without_the_token_fails(fresh_lab: Project) -> None:
    """The engine makes a folder instead of the token. `prepare` removes an empty folder, and refuses any other."""
    token, server = fresh_lab.folder / "secrets/jupyter_token", fresh_lab.container("server")["Id"]
    fresh_lab.run("docker", "stop", "--time", "2", server)
    token.unlink()
    assert fresh_lab.run("docker", "start", server, check=False).returncode != 0
    assert token.is_dir()
    (token / "something").touch()
    refused(fresh_lab, "secrets/jupyter_token is a folder. Run 'rm -r")
    assert "FIX   secrets/jupyter_token is a folder. Run 'rm -r " in fresh_lab.make("doctor", check=False).stdout
    (token / "something").unlink()
    assert answers(fresh_lab.up()) == 200
    assert token.is_file()


def test_a_crashed_lab_comes_back(fresh_lab: Project) -> None:
    crash(fresh_lab)
    assert answers(fresh_lab.client()) == 200
    before = contents(fresh_lab)
    fresh_lab.make("down")
    assert [left(fresh_lab, kind) for kind in ("container", "network")] == [[], []]
    volumes = [f"{fresh_lab.compose_name()}_{volume}" for volume in ("cache", "kept", "server", "sockets")]
    assert sorted(left(fresh_lab, "volume")) == volumes  # `make reset` deletes them
    assert contents(fresh_lab) == before


# --- the build ------------------------------------------------------------------------------------
NOWHERE = f"no-such-package==1.0 --hash=sha256:{64 * '0'}\n"


def full_disk(project: Project) -> None:
    """Mount a file system of 20 MB at /opt in one build step."""
    step = "uv venv --quiet /opt/venv"
    project.replace("Dockerfile", f"\\\n    {step}", f"--mount=type=tmpfs,target=/opt,size=20m \\\n    {step}")


def no_network(project: Project) -> None:
    project.replace("compose.override.yaml", "services: {}", "services: {lab: {build: {network: none}}}")


def wrong_ca(project: Project) -> None:
    project.set_env(LAB_CA_BUNDLE=str(DATA / "nobodys-ca.pem"), PIP_INDEX_URL="")
    (project.folder / "requirements.lock").write_text(NOWHERE)  # so the build needs a package from the index


def wrong_base(project: Project) -> None:
    project.set_env(PYTHON_IMAGE="127.0.0.1:1/python:none")


@pytest.mark.full
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(full_disk, ("the disk is full", "docker system prune"), id="full disk", marks=pytest.mark.nightly),
        pytest.param(no_network, ("cannot be reached", "HTTPS_PROXY"), id="no network"),
        pytest.param(wrong_ca, ("certificate", "LAB_CA_BUNDLE adds 1"), id="wrong CA"),
        pytest.param(
            wrong_base, ("127.0.0.1:1/python:none", "PYTHON_IMAGE"), id="wrong base image", marks=pytest.mark.nightly
        ),
    ],
)
def test_a_build_that_fails_and_then_does_not(
    fresh_project: Project, spoil: Callable[[Project], None], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(fresh_project)
    if spoil is wrong_ca:
        monkeypatch.delenv("LAB_CA_BUNDLE", raising=False)
        monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    spoil(fresh_project)
    refused(fresh_project, "the image was not built", *words)
    image = f"{fresh_project.compose_name()}-lab"
    assert fresh_project.run("docker", "image", "ls", "--quiet", image).stdout == ""
    monkeypatch.undo()
    for name, (text, *_) in whole.items():
        (fresh_project.folder / name).write_bytes(text)
    assert answers(fresh_project.up()) == 200


# --- the project's folder ------------------------------------------------------------------------------
@pytest.mark.full
def test_a_folder_with_spaces_and_umlauts(new_project: Render, tmp_path: Path) -> None:
    project = new_project(folder=tmp_path / "Größe & Maß" / "mein 'labor'")
    assert answers(project.up()) == 200
    assert project.client().address in project.make("url").stdout
    project.make("down")
    assert left(project) == []


@pytest.mark.full
def test_two_checkouts_of_one_name_run_at_once(new_project: Render, tmp_path: Path) -> None:
    one, two = (new_project(folder=tmp_path / parent / "lab") for parent in ("here", "there"))
    assert one.compose_name() != two.compose_name()
    labs = [one.up(), two.up()]
    assert [answers(lab) for lab in labs] == [200, 200]
    one.make("down")
    assert [answers(lab) for lab in labs] == [None, 200]


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_an_env_file_of_any_release_still_works(fresh_project: Project, render: Render, tag: str) -> None:
    fresh_project.environment.update(LAB_NAME=fresh_project.compose_name(), JUPYTER_PORT="0")  # apart from other labs
    (fresh_project.folder / ".env").write_text(render(ref=tag).read("sample.env"))
    fresh_project.make("doctor")
    assert answers(fresh_project.up()) == 200
