"""A project's own workflow lab.yml: which jobs run for which event, and every `run:` step, run on this machine.

Actions (`uses:`) are simulated, and so is `gh`. The registry belongs to the test and wants a password. The test also
answers what the checkers ask about vulnerabilities.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.advisories import Server, advisories
from tests.support.build_sources import registry
from tests.support.project import Project, Render
from tests.support.repository import ROOT, git
from tests.support.workflows import DOWNLOAD, HostedRunner, Workflow, resolved

(FOLDER,) = (ROOT / "template").glob("*/workflows")
LAB = Workflow((FOLDER / "lab.yml").read_text())
UPDATE = Workflow((FOLDER / "update.yml").read_text())
CHECKS = {"lint", "lab", "vulnerabilities"}
GH = f'case "$1 $2" in {DOWNLOAD} esac'


def github(event: str, branch: str = "trunk") -> dict[str, Any]:
    """What GitHub says of an event, in a repository whose default branch is called trunk."""
    return {"event_name": event, "ref_name": branch, "event": {"repository": {"default_branch": "trunk"}}}


def jobs_of(event: str, branch: str = "trunk", publish: str = "", failing: tuple[str, ...] = ()) -> set[str]:
    """The jobs that run, if `publish` is the variable PUBLISH_IMAGE and the jobs `failing` fail."""
    assert event in LAB.on
    variables = {"PUBLISH_IMAGE": publish} if publish else {}
    results = LAB.results(failing, github=github(event, branch), vars=variables)
    return {name for name, result in results.items() if result != "skipped"}


# --- what runs ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("event", ["push", "pull_request", "schedule", "workflow_dispatch"])
def test_every_event_on_the_default_branch_is_checked(event: str) -> None:
    assert jobs_of(event) == CHECKS


def test_a_pull_request_is_checked_once() -> None:
    """If its branch is in the same repository, GitHub reports a push too."""
    assert LAB.on["push"] == {"branches": ["**"]}, "the default branch may have any name"
    assert jobs_of("push", "work") == set()
    assert jobs_of("pull_request", "7/merge") == CHECKS


def test_only_a_push_to_the_default_branch_publishes_and_only_if_asked() -> None:
    assert jobs_of("push", publish="true") == CHECKS | {"publish"}
    assert jobs_of("push", publish="false") == CHECKS
    for event, branch in (("push", "work"), ("pull_request", "7/merge"), ("schedule", "trunk")):
        assert "publish" not in jobs_of(event, branch, publish="true")


@pytest.mark.parametrize("job", sorted(CHECKS))
def test_nothing_is_published_if_a_check_fails(job: str) -> None:
    assert jobs_of("push", publish="true", failing=(job,)) == CHECKS


# --- the steps ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab-workflow")


@pytest.fixture(scope="module")
def project(engine: None, render: Render, folder: Path) -> Iterator[Project]:
    """A project that is committed, as a checkout has it."""
    project = render(folder=folder / "Iris study/lab")
    project.commit()
    yield project
    project.down("--rmi", "all")
    for name in (f"{project.config()['name']}-sbom", f"lab:{sha(project)}"):
        project.run("docker", "image", "rm", "--force", name, check=False)


def sha(project: Project) -> str:
    return git("rev-parse", "HEAD", cwd=project.folder)


@pytest.fixture(scope="module")
def home(folder: Path) -> Path:
    """What the jobs of one run share: artifacts, and a Python that each of them installs into."""
    subprocess.run([sys.executable, "-m", "venv", folder / "home/python"], check=True)
    return folder / "home"


def hosted(workspace: Path, home: Path, project: Project) -> HostedRunner:
    """A runner for a push to the default branch, in a repository that publishes."""
    contexts = {
        "github": {**github("push"), "sha": sha(project), "repository": "Somebody/Iris-Study"},
        "vars": {"PUBLISH_IMAGE": "true"},
        "runner": {"arch": "X64"},
    }
    environment = {"PRE_COMMIT_HOME": str(home / "pre-commit"), "XDG_CACHE_HOME": str(home / "cache")}
    return HostedRunner(workspace, home, GH, contexts, environment, home / "python/bin")


def checkout(project: Project, folder: Path) -> Path:
    git("clone", "--quiet", str(project.folder), str(folder), cwd=project.folder)
    return folder


def image_id(project: Project, name: str) -> str:
    return project.run("docker", "image", "inspect", "--format", "{{.Id}}", name).stdout.strip()


@dataclass
class Passed:
    """The run of the job `lab`: its runner, and the id of the image that it tested."""

    runner: HostedRunner
    image: str


@pytest.fixture(scope="module")
def passed(project: Project, home: Path) -> Passed:
    runner = hosted(project.folder, home, project)
    done = runner.run(LAB.jobs["lab"])
    assert done.returncode == 0, done.stdout[-5000:]
    assert project.run("git", "status", "--porcelain").stdout == "?? image.tar\n"
    return Passed(runner, project.container()["Image"])


@pytest.fixture
def asked(passed: Passed, tmp_path: Path) -> Iterator[Server]:
    """What the checkers ask goes to this server."""
    (tmp_path / "advisories").mkdir()
    with advisories(tmp_path / "advisories") as (server, environment):
        settings = "\n".join(f"export {name}='{value}'" for name, value in environment.items())
        for name in ("pip-audit", "debsbom"):
            program = passed.runner.python / name
            passed.runner.program(name, f'{settings}\nexport HOME="{tmp_path}"\nexec {program} "$@"')
        yield server


@pytest.mark.nightly
def test_the_bill_of_materials_is_of_the_image_that_was_tested(passed: Passed, project: Project, home: Path) -> None:
    """`make sbom` builds again, and everything comes from the cache."""
    assert image_id(project, project.config()["services"]["lab"]["image"]) == passed.image
    assert {path.name for path in (home / "artifacts/sbom").iterdir()} == {"sbom.cdx.json", "provenance.json"}


@pytest.mark.nightly
def test_a_known_vulnerability_fails(
    passed: Passed, project: Project, home: Path, asked: Server, tmp_path: Path
) -> None:
    runner = hosted(checkout(project, tmp_path / "checkout"), home, project)
    done = runner.run(LAB.jobs["vulnerabilities"])
    assert done.returncode == 0, done.stdout[-5000:]
    packages = {path.split("/")[2] for path in asked.asked if path.startswith("/pypi/")}
    assert {"numpy", "jupyter-server", "uv"} <= packages  # one of each lock
    assert any(path.endswith("/data/json") for path in asked.asked)

    known = {"id": "PYSEC-2026-1", "aliases": [], "details": "a flaw", "fixed_in": ["99"], "withdrawn": None}
    asked.holes["numpy"] = [known]
    shutil.rmtree(home / "cache")
    done = runner.run(LAB.jobs["vulnerabilities"])
    assert done.returncode != 0 and "PYSEC-2026-1" in done.stdout


@pytest.mark.nightly
def test_the_image_that_is_published_is_the_one_that_was_tested(
    passed: Passed, project: Project, home: Path, tmp_path: Path
) -> None:
    # The job has another machine: here, that name is another image.
    name = f"lab:{sha(project)}"
    base = project.config()["services"]["lab"]["build"]["args"]["PYTHON_IMAGE"]
    project.run("docker", "tag", base, name)
    assert image_id(project, name) != passed.image
    for folder in ("workspace", "registry"):
        (tmp_path / folder).mkdir()
    runner = hosted(tmp_path / "workspace", home, project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with registry(tmp_path / "registry", port, ("somebody", "t0ken")) as address, ExitStack() as stack:
        done = runner.run(LAB.jobs["publish"], REGISTRY=address)
        assert done.returncode == 0, done.stdout[-5000:]
        image, tags = f"{address}/somebody/iris-study", (sha(project), "latest")
        outputs = runner.contexts["steps"]["push"]["outputs"]
        published = f"{image}@{outputs['digest']}"
        for tag in tags:
            project.run("docker", "image", "rm", f"{image}:{tag}")
        stack.callback(project.run, "docker", "image", "rm", "--force", published, check=False)
        project.environment["DOCKER_CONFIG"] = str(home / "docker")
        stack.callback(project.environment.pop, "DOCKER_CONFIG")
        project.run("docker", "pull", "--quiet", published)
        assert image_id(project, published) == passed.image
        # Without the token nothing gets in.
        runner.contexts["github"]["token"] = "another"
        assert runner.run(LAB.jobs["publish"], REGISTRY=address).returncode != 0
    signed = [
        step["with"] for step in LAB.jobs["publish"]["steps"] if step.get("uses", "").startswith("actions/attest@")
    ]
    contexts = {"steps": {"push": {"outputs": outputs}}}
    assert {resolved(f"{s['subject-name']}@{s['subject-digest']}", contexts) for s in signed} == {published}
    assert [step.get("sbom-path") for step in signed] == [None, "sbom.cdx.json"]
    assert (runner.workspace / "sbom.cdx.json").exists()


@pytest.mark.nightly
def test_a_file_that_is_not_clean_fails(project: Project, home: Path, tmp_path: Path) -> None:
    runner = hosted(checkout(project, tmp_path / "checkout"), home, project)
    done = runner.run(LAB.jobs["lint"])
    assert done.returncode == 0, done.stdout[-5000:]
    broken = Project(runner.workspace, {})
    broken.replace("Makefile", ".DEFAULT_GOAL := help\n", ".DEFAULT_GOAL := help \n")
    broken.commit()
    assert runner.run(LAB.jobs["lint"], SKIP="hadolint,shellcheck,zizmor,yamllint,compose,workflows").returncode != 0


def test_a_lab_that_fails_shows_its_log_and_saves_no_image(render: Render, tmp_path: Path) -> None:
    project = render(folder=tmp_path / "lab")
    project.commit()
    runner = hosted(project.folder, tmp_path / "home", project)
    runner.program("make", 'test "$1" != run')
    runner.program("docker", 'echo "docker $*"')
    (project.folder / "sbom.cdx.json").touch()
    done = runner.run(LAB.jobs["lab"])
    assert done.returncode != 0 and done.stdout == "docker compose logs\n"
    assert [path.name for path in (runner.home / "artifacts").iterdir()] == ["sbom"]


@pytest.mark.parametrize(("event", "arch"), [("pull_request", "X64"), ("push", "ARM64")])
def test_an_image_is_saved_only_to_be_published(render: Render, tmp_path: Path, event: str, arch: str) -> None:
    project = render(folder=tmp_path / "lab")
    project.commit()
    runner = hosted(project.folder, tmp_path / "home", project)
    runner.contexts["github"]["event_name"], runner.contexts["runner"]["arch"] = event, arch
    runner.program("make", "touch sbom.cdx.json")
    assert runner.run(LAB.jobs["lab"]).returncode == 0
    assert not (runner.home / "artifacts/image").exists()


BUILDING = {
    f"{name} of {file}": job
    for file, workflow in (("lab.yml", LAB), ("update.yml", UPDATE))
    for name, job in workflow.jobs.items()
    if any(step.get("run") == "make env" for step in job["steps"])
}


@pytest.mark.parametrize("name", BUILDING)
def test_a_job_that_builds_uses_the_package_index_of_the_secret(
    engine: None, render: Render, tmp_path: Path, name: str
) -> None:
    project = render(folder=tmp_path / "lab")
    project.commit()
    read = {"shell": "bash", "run": '. lab/commands/lib/all.sh && printf "<%s>" "$PIP_INDEX_URL"'}
    job = {**BUILDING[name], "steps": [{"run": "make env", "shell": "bash"}, read]}
    for index in ("", "https://reader:p'w$x%40@one.example/simple https://two.example/simple"):
        runner = hosted(project.folder, tmp_path / "home", project)
        runner.contexts["secrets"]["PIP_INDEX_URL"] = index
        done = runner.run(job)
        assert done.returncode == 0 and done.stdout.endswith(f"<{index}>"), done.stdout
