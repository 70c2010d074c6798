"""Fixtures only: an environment of the tests' own, the template as a release would be, projects and labs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copier
import pytest
import testinfra
import yaml

import engine as container_engine
from engine import machine
from engine.common import Refused
from tests.cases import CASES, RARER_CASES
from tests.support import shared
from tests.support.project import Project, Render
from tests.support.quick_copier import quicken
from tests.support.repository import CANDIDATE, ROOT, clone_with_candidate
from tests.support.requirements import lacking


@pytest.fixture(scope="session", autouse=True)
def isolated_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the user's git and Copier settings nor a lab's settings in the shell change a result."""
    home = tmp_path_factory.mktemp("settings")
    shared.leave(tmp_path_factory.getbasetemp())
    (home / "gitconfig").write_text(
        "[user]\nname = Test\nemail = test@example.com\n[init]\ndefaultBranch = main\n[safe]\ndirectory = *\n"
    )
    (home / "copier.yml").write_text("{}\n")
    settings = ("LAB_", "JUPYTER_", "GIT_", "COPIER_", "COMPOSE_", "PYTHON_IMAGE", "MAKE", "MFLAGS", "SUDO_")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(settings)]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("COPIER_CACHE_DIR", str(home / "templates"))  # two workers would write a shared one at once
        # What this machine needs for a build: its own CA, mirrors, proxy.
        for name, value in machine.settings().items():
            patch.setenv(name, value)
        quicken(patch)
        yield


@pytest.fixture(scope="session")
def template(isolated_env: None) -> Path:
    """A clone with a tag for each release commit, the working tree laid over it and tagged as the candidate."""
    return shared.once("labdock", clone_with_candidate)


@pytest.fixture(scope="session")
def questions() -> dict[str, dict[str, Any]]:
    """What copier.yml asks, by name; computed values are no questions."""
    text = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return {name: q for name, q in text.items() if not name.startswith("_") and q.get("when") is not False}


@pytest.fixture(scope="session")
def render(template: Path, questions: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render a project; refuses an answer to a question that nobody asks, which Copier would ignore.

    The same answers are rendered once in a run, and copied.
    """

    def run(folder: Path | None = None, ref: str = CANDIDATE, **answers: Any) -> Project:
        if unknown := answers.keys() - questions.keys():
            raise ValueError(f"copier.yml does not ask for {', '.join(sorted(unknown))}")
        folder = folder or tmp_path_factory.mktemp("project") / "lab"
        data = {"project_name": "Iris study", **answers}

        def copy(target: Path) -> None:
            copier.run_copy(str(template), target, data=data, defaults=True, quiet=True, vcs_ref=ref)

        rendered = shared.once(f"rendered-{shared.key(ref, data)}", copy)
        shutil.copytree(rendered, folder, symlinks=True, dirs_exist_ok=True)
        kept = yaml.safe_load((folder / ".copier-answers.yml").read_text(encoding="utf-8"))
        return Project(folder, kept)

    return run


@pytest.fixture(
    scope="session", params=[pytest.param(c, marks=pytest.mark.full if c in RARER_CASES else ()) for c in CASES]
)
def case(request: pytest.FixtureRequest, render: Render) -> Project:
    """Each case of CASES, rendered once. Not to be changed."""
    return render(**CASES[request.param])


@pytest.fixture(scope="session")
def engine() -> None:
    """A container engine with the base image of the default Python."""
    try:
        state = container_engine.up(["3.13"])["3.13"]
    except Refused as refused:
        lacking(str(refused))
    else:
        if state != "ready":
            lacking(f"python 3.13: {state}")


@pytest.fixture(scope="session")
def started(engine: None) -> Iterator[list[Project]]:
    """Put a project here, and its lab and images are removed at the end of the run."""
    projects: list[Project] = []
    yield projects
    for project in projects:
        shared.leave(project.compose_name())


@pytest.fixture(scope="session")
def new_project(started: list[Project], render: Render) -> Render:
    """Render projects after `make env`, each on any free port; their labs and images are removed at the end."""

    def run(**answers: Any) -> Project:
        project = render(**answers)
        started.append(project)
        project.make("env")
        project.set_env(JUPYTER_PORT="0")
        return project

    return run


@pytest.fixture
def fresh_project(new_project: Render) -> Iterator[Project]:
    """A project of the test's own, lab not started; gone after the test."""
    project = new_project()
    yield project
    project.down()


@pytest.fixture
def fresh_lab(default_image: None, fresh_project: Project) -> Project:
    """A running lab of the test's own."""
    fresh_project.start()
    return fresh_project


@pytest.fixture(scope="session")
def default_image(new_project: Render) -> None:
    """The image of a default project, built once in a run: each other project's build finds its steps done."""
    shared.once("image", lambda done: done.write_text(new_project().compose("build", "lab").stderr))


@pytest.fixture(scope="session")
def lab(default_image: None, new_project: Render) -> Project:
    """The running lab that the tests of a worker share. They leave it as they found it."""
    project = new_project()
    project.start()
    return project


@pytest.fixture(scope="session")
def sealed(default_image: None, new_project: Render) -> Project:
    """A running lab whose notebooks have no network. Tests leave it as they found it."""
    project = new_project(network="sealed")
    project.start()
    return project


@pytest.fixture(scope="session")
def host(lab: Project) -> testinfra.host.Host:
    """The shared lab's container, as testinfra sees it."""
    return testinfra.get_host(f"docker://{lab.container()['Id']}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared.begin()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    from tests.support.workers import workers

    return workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.support.workers import Scheduling

    return Scheduling(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Clean up at the end of the run, after the last worker."""
    if not hasattr(config, "workerinput"):
        shared.end()


@pytest.hookimpl(trylast=True)  # after -m has left tests out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need an engine come first: they take longest, and the short ones fill the gaps at the end.

    The first of them starts the engine and builds the image. Until then, the other workers run short tests and build
    the browser's image.
    """
    from tests.support.workers import shares

    def uses(item: pytest.Item, fixture: str) -> bool:
        return fixture in getattr(item, "fixturenames", ())

    needing = {item for item in items if uses(item, "engine")}
    whole = {item.path for item in needing if shares(item.path)}  # one worker runs all tests of such a file
    long = [item for item in items if (item in needing or item.path in whole) and not uses(item, "chromium")]
    browser = [item for item in items if uses(item, "chromium")]
    short = [item for item in items if item not in needing and item.path not in whole]
    meanwhile = len(short) * 9 // 10 if long else 0
    items[:] = [*long[:1], *short[:meanwhile], *browser, *long[1:], *short[meanwhile:]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test of a lab or of a cluster shows the logs."""
    from tests.support.cluster import Cluster

    report = yield
    if report.failed and shutil.which("docker"):
        once = {id(value): value for value in getattr(item, "funcargs", {}).values()}  # two fixtures can share a lab
        for value in once.values():
            if isinstance(value, Project | Cluster) and (log := value.logs()):  # empty without a lab or an engine
                report.sections.append(("the log", log[-10_000:]))
    return report
