"""A package without a wheel: the build names the error, and DEBIAN_BUILD_PACKAGES gives the build what it lacks."""

import json
import re

import pytest
import yaml

from tests.support.project import Project, Render
from tests.support.repository import ROOT

# Debian's Python, of which a stand-in is made, has its headers in a package of its own.
BUILD = "gcc libc6-dev libpq-dev python3-dev"


@pytest.mark.nightly
def test_a_package_without_a_wheel_is_built(fresh_project: Project) -> None:
    project = fresh_project
    project.run("make", "add", "PKG=psycopg2")
    done = project.make("up", check=False)
    said = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("labdock: "))
    assert said.startswith("labdock: the image was not built: psycopg2==")
    assert "must be built from source, and its build failed with 'Error: pg_config executable not found'. " in said
    assert said.endswith("DEBIAN_BUILD_PACKAGES in compose.override.yaml.")

    build = {"build": {"args": {"DEBIAN_BUILD_PACKAGES": BUILD, "DEBIAN_PACKAGES": "libpq5"}}}
    override = {"services": {name: build for name in ("lab", "packages", "bundle")}}
    (project.folder / "compose.override.yaml").write_text(yaml.safe_dump(override))
    project.up()
    assert project.shell("python -c 'import psycopg2; print(psycopg2.__version__)'")[0].isdigit()
    # The image of the lab has what the package needs, and not what its build needs.
    installed = project.shell("dpkg-query --show --showformat '${Package} '").split()
    assert "libpq5" in installed and not {"gcc", "libpq-dev"} & {*installed}
    assert project.shell("command -v gcc pg_config || true") == ""

    # A bundle has the packages of both lists.
    project.make("bundle")
    (packed,) = project.folder.glob("*-bundle.tar")
    listed = project.run("tar", "-tf", packed).stdout
    assert "/lab/bundle/debs/gcc_" in listed and "/lab/bundle/debs/libpq5_" in listed
    assert "/lab/bundle/wheels/psycopg2-" in listed
    packed.unlink()


def lists(project: Project) -> dict[str, tuple[str, str]]:
    """The stage and the second list of each service that the template builds."""
    config = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    builds = {name: service["build"] for name, service in config.items() if "build" in service}
    return {name: (build.get("target", ""), build["args"]["DEBIAN_BUILD_PACKAGES"]) for name, build in builds.items()}


def test_the_documented_lines_reach_every_build(render: Render) -> None:
    """The control: a new project's list is empty."""
    project = render()
    stages = {"lab": "", "packages": "packages", "bundle": "bundle"}
    assert lists(project) == {name: (stage, "") for name, stage in stages.items()}
    page = (ROOT / "docs/how-to/packages.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```yaml\n(services:.*?)```", page, re.DOTALL)
    (project.folder / "compose.override.yaml").write_text(snippet)
    assert lists(project) == {name: (stage, "gcc libc6-dev libpq-dev") for name, stage in stages.items()}
