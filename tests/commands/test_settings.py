"""Settings: the scripts read them as Compose does."""

import json
import re

import pytest

from tests.support.project import Project

LINES = [
    "LAB_UID=1234",
    "LAB_UID = 1234",
    "  LAB_UID=1234  ",
    "export LAB_UID=1234",
    "LAB_UID='1234'",
    'LAB_UID="1234" # mine',
    "LAB_UID=1234 # mine",
    "LAB_UID=1234\r",
    "LAB_UID=1\nLAB_UID=1234",
    "\ufeffLAB_UID=1234",
    "OTHER=1234\nLAB_UID=${OTHER}",
    "LAB_UID=",
    "LAB_UID=''",
    "#LAB_UID=1234",
    "MY_LAB_UID=1234",
    "LAB_UID=1#2",
]


def seen(project: Project) -> tuple[str, str]:
    """LAB_UID as the scripts see it, and as Compose puts it into compose.yaml."""
    script = project.run("sh", "-c", ". lab/commands/lib/all.sh; setting LAB_UID 1000").stdout.strip()
    return script, project.config()["services"]["lab"]["user"].split(":")[0]


@pytest.mark.parametrize("lines", LINES)
def test_scripts_see_what_compose_sees(engine: None, project: Project, lines: str) -> None:
    (project.folder / ".env").write_bytes(f"{lines}\n".encode())
    script, compose = seen(project)
    assert script == compose
    assert script == ("1000" if lines in LINES[-5:-1] else "1#2" if "1#2" in lines else "1234")


@pytest.mark.parametrize("value", ["5", ""])
def test_the_shell_comes_before_the_file(engine: None, project: Project, value: str) -> None:
    (project.folder / ".env").write_text("LAB_UID=1234\n")
    project.environment["LAB_UID"] = value
    assert seen(project) == (value or "1000",) * 2


@pytest.mark.parametrize("line", ["LAB_NAME=mine", "LAB_NAME=", ""])
def test_scripts_know_the_names_of_the_images(engine: None, project: Project, line: str) -> None:
    (project.folder / ".env").write_text(f"{line}\n")
    services = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    for name in ("lab", "packages", "bundle"):
        said = project.run("sh", "-euc", f". lab/commands/lib/all.sh; image {name}").stdout
        assert said == f"{services[name]['image']}\n"


def test_nothing_asks_compose_for_the_image_of_one_service(rendered: Project) -> None:
    """It names those of the services that this one waits for too, in any order."""
    asked = re.compile(r"config --images +[^|\s]")
    for path in ("lab/commands/*.sh", "tests/*.py", ".github/workflows/*.yml"):
        files = list(rendered.folder.glob(path))
        assert files and [file.name for file in files if asked.search(file.read_text())] == []
    assert asked.search("image=$(docker compose config --images lab | head -n 1)")


def test_a_proxy_has_both_its_names(engine: None, project: Project) -> None:
    """In all that runs in the lab: what the engine starts beside the server has Compose's environment alone."""
    proxies = {"HTTP_PROXY": "http://proxy:1", "HTTPS_PROXY": "http://proxy:2", "NO_PROXY": "here"}
    project.environment |= proxies
    environment = project.config()["services"]["lab"]["environment"]
    assert {name: (environment[name], environment[name.lower()]) for name in proxies} == {
        name: (value, value) for name, value in proxies.items()
    }
