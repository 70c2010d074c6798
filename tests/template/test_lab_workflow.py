"""A project's own workflow: every `run:` step of it does its work on this machine.

What `uses:` an action of the forge is simulated: the checkout is the committed project, Python an environment of its
own. The forge's registry is one of the test's, behind a password; those that know of holes are answered by the test.
"""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Render
from tests.support.advisories import Server, advisories
from tests.support.project import Project
from tests.support.runner import Runner, command, jobs, resolved
from tests.support.supply import registry

(WORKFLOW,) = (ROOT / "template").glob("*/workflows/lab.yml")
(UPDATE,) = (ROOT / "template").glob("*/workflows/update.yml")
MAKE_ENV = {"run": "make env", "shell": "bash"}
JOBS = jobs(WORKFLOW.read_text())
ASK = ("pip-audit", "debsbom")  # the steps that ask whether something is known


@pytest.fixture
def project(engine: None, render: Render, tmp_path: Path) -> Iterator[Project]:
    project = render(folder=tmp_path / "Iris study/lab")
    project.commit()
    yield project
    project.down("--rmi", "all")
    project.run("docker", "image", "rm", "--force", f"{project.config()['name']}-sbom", check=False)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    folder = tmp_path / "advisories"
    folder.mkdir()
    with advisories(folder) as found:
        yield found


@pytest.fixture
def runner(project: Project, tmp_path: Path) -> Runner:
    home = tmp_path / "runner"
    home.mkdir()
    return Runner(project, home, {"github.token": "t0ken", "secrets.PIP_INDEX_URL": ""})


def run_steps(runner: Runner, name: str, known: dict[str, str], **more: str) -> int:
    """Run every `run:` step of a job, whatever its condition; how many there were."""
    steps = [step for step in JOBS[name]["steps"] if "run" in step]
    for step in steps:
        asks = {**known, "HOME": str(runner.home)} if step["run"].startswith(ASK) else {}  # answers are kept in home
        done = runner.step(JOBS[name], step, **asks, **more)
        assert done.returncode == 0, f"{step['run']}\n{done.stdout}\n{done.stderr}"
    return len(steps)


def kept(step: dict[str, Any], project: Project) -> list[str]:
    """What a step uploads and is not there."""
    return [path for path in step["with"]["path"].split() if not (project.folder / path).exists()]


def test_every_step_is_run_below() -> None:
    """Each job is a case of a test below, and each of those runs all steps of its job."""
    assert set(JOBS) == {"lint", "lab", "vulnerabilities", "publish"}
    assert sum("run" in step for job in JOBS.values() for step in job["steps"]) >= 13


@pytest.mark.full
@pytest.mark.parametrize("name", ["lint", "lab"])
def test_a_job_passes(runner: Runner, known: tuple[Server, dict[str, str]], name: str) -> None:
    assert run_steps(runner, name, known[1])
    assert runner.project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.full
def test_a_file_that_is_not_clean_fails(runner: Runner) -> None:
    runner.project.replace("Makefile", ".DEFAULT_GOAL := help\n", ".DEFAULT_GOAL := help \n")
    runner.project.commit()
    install, check = (step for step in JOBS["lint"]["steps"] if "run" in step)
    assert runner.step(JOBS["lint"], install).returncode == 0
    assert runner.step(JOBS["lint"], check, SKIP="hadolint,shellcheck,zizmor,yamllint,compose,workflows").returncode


@pytest.mark.full
def test_what_is_known_of_packages_is_asked_and_fails(runner: Runner, known: tuple[Server, dict[str, str]]) -> None:
    server, environment = known
    assert run_steps(runner, "vulnerabilities", environment)
    asked = {path.split("/")[2] for path in server.asked if path.startswith("/pypi/")}
    assert {"numpy", "jupyter-server", "uv"} <= asked  # of each lock
    assert any(path.endswith("/data/json") for path in server.asked)
    (upload,) = (step for step in JOBS["vulnerabilities"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert kept(upload, runner.project) == []

    hole = {"id": "PYSEC-2026-1", "aliases": [], "details": "a hole", "fixed_in": ["99"], "withdrawn": None}
    server.holes["numpy"] = [hole]
    shutil.rmtree(runner.home / "cache")
    (audit,) = (step for step in JOBS["vulnerabilities"]["steps"] if step.get("run", "").startswith("pip-audit"))
    done = runner.step(JOBS["vulnerabilities"], audit, **environment, HOME=str(runner.home))
    assert done.returncode and "PYSEC-2026-1" in done.stdout + done.stderr


@pytest.mark.full
def test_the_image_is_pushed_and_what_is_signed_is_that_image(runner: Runner, tmp_path: Path) -> None:
    job, project = JOBS["publish"], runner.project
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder, port, ("somebody", "t0ken")) as address:
        assert run_steps(runner, "publish", {}, REGISTRY=address)
        image, digest = f"{address}/somebody/iris-study", runner.outputs()["digest"]
        assert runner.outputs()["image"] == image
        project.run("docker", "image", "rm", f"{image}:latest", f"{image}:{runner.environment()['GITHUB_SHA']}")
        names = {"DOCKER_CONFIG": str(runner.home / "docker")}
        project.environment |= names
        project.run("docker", "pull", "--quiet", f"{image}@{digest}")
        pulled = project.run("docker", "image", "inspect", "--format", "{{.Config.User}}", f"{image}@{digest}").stdout
        assert pulled == "1000:1000\n"
        project.run("docker", "image", "rm", "--force", f"{image}@{digest}")
        # The control: without the token nothing gets in.
        push = next(step for step in job["steps"] if step.get("id") == "push")
        runner.expressions["github.token"] = "another"
        assert runner.step(job, push, REGISTRY=address).returncode
    runner.expressions |= {f"steps.push.outputs.{name}": value for name, value in runner.outputs().items()}
    signed = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/attest@")]
    assert [resolved(step["subject-digest"], runner.expressions) for step in signed] == [digest, digest]
    assert [step.get("sbom-path") for step in signed] == [None, "sbom.cdx.json"]
    assert (project.folder / "sbom.cdx.json").exists()


@pytest.mark.full
def test_the_image_that_is_pushed_is_never_that_of_a_neighbour(runner: Runner, tmp_path: Path) -> None:
    """The lab waits for the database of docs/how-to/services.md; Compose lists the images of both, in any order."""
    page = (ROOT / "docs/how-to/services.md").read_text()
    (override,) = re.findall(r"^cat >compose.override.yaml <<'END'\n(.*?)^END$", page, re.MULTILINE | re.DOTALL)
    (runner.project.folder / "compose.override.yaml").write_text(override)
    assert runner.project.config()["services"]["lab"]["depends_on"]["db"]
    # Compose is the real one; what would be tagged, pushed and signed in with is written down.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(f"""#!/bin/sh
[ "$1" != compose ] || exec {shutil.which("docker")} "$@"
[ "$1" != login ] || cat >/dev/null
echo "$@" >>{tmp_path}/asked
""")
    (tmp_path / "bin/docker").chmod(0o755)
    push = next(step for step in JOBS["publish"]["steps"] if step.get("id") == "push")
    for _ in range(10):
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        assert runner.step(JOBS["publish"], push, PATH=path, REGISTRY="registry.example").returncode == 0
    tagged = [line.split()[1] for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("tag ")]
    assert tagged == [runner.project.config()["services"]["lab"]["image"]] * 20


def test_every_push_is_checked_whatever_its_branch_is_called() -> None:
    """`git init` may call it master; a tag is a commit that was checked already."""
    on = yaml.safe_load(WORKFLOW.read_text())[True]  # which YAML takes `on` for
    assert (on["push"], on["pull_request"]) == ({"branches": ["**"]}, None)
    assert not [name for name, job in JOBS.items() if "if" in job and name != "publish"]


@pytest.mark.full
def test_a_package_index_that_is_a_secret_is_the_build_s(runner: Runner) -> None:
    """After each `make env`, of workflow `update` too; what Compose reads is what was given, and no step says it."""
    project, index = runner.project, "https://reader:p'w$x%40@one.example/simple https://two.example/simple"
    every = [job for job in [*JOBS.values(), *jobs(UPDATE.read_text()).values()] if MAKE_ENV in job["steps"]]
    assert len(every) == 4
    for job in every:
        at = job["steps"].index(MAKE_ENV)
        texts = []
        for secret in ("", index):
            runner.expressions["secrets.PIP_INDEX_URL"] = secret
            (project.folder / ".env").unlink(missing_ok=True)
            for step in job["steps"][at : at + 2]:
                done = runner.step(job, step)
                assert done.returncode == 0 and "example" not in done.stdout + done.stderr
            texts.append(project.read(".env"))
        assert "PIP_INDEX_URL=\n" in texts[0] and texts[1].startswith(texts[0])
        read = ("env", "-u", "PIP_INDEX_URL", "sh", "-c", '. lab/commands/lib/all.sh; printf %s "$PIP_INDEX_URL"')
        assert project.run(*read).stdout == index.replace("'", "%27")


def test_nothing_is_published_unasked() -> None:
    """Only where the variable says so, after a push to the default branch, and once everything else has passed."""
    publish = JOBS["publish"]
    assert publish["if"].split(" && ") == [
        "vars.PUBLISH_IMAGE == 'true'",
        "github.event_name == 'push'",
        "github.ref_name == github.event.repository.default_branch",
    ]
    assert set(publish["needs"]) == set(JOBS) - {"publish"}


def test_both_processors_are_built() -> None:
    assert JOBS["lab"]["runs-on"] == "${{ matrix.runner }}"
    assert JOBS["lab"]["strategy"]["matrix"]["runner"] == ["ubuntu-latest", "ubuntu-24.04-arm"]


def test_a_run_that_is_no_step_is_noticed() -> None:
    with pytest.raises(AssertionError):
        jobs("jobs:\n  a:\n    steps:\n      - run: echo\n    more:\n      run: echo\n")


@pytest.mark.parametrize(("defaults", "status"), [("", 0), ("defaults: {run: {shell: bash}}\n", 1)])
def test_the_shell_is_the_one_that_the_workflow_names(defaults: str, status: int) -> None:
    (step,) = jobs(f"{defaults}jobs: {{a: {{steps: [\n  run: false | cat\n]}}}}\n")["a"]["steps"]
    assert subprocess.run(command(step)).returncode == status


def test_an_expression_that_nobody_named_is_noticed() -> None:
    with pytest.raises(KeyError):
        resolved("${{ github.event.head_commit.message }}", {"github.token": "any"})
