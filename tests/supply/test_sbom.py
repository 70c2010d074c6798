"""`make sbom`: every package in the image is in its bill of materials, which is valid CycloneDX."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.build_programs import load
from tests.support.build_sources import stand_in
from tests.support.project import Project

WRITTEN = ("sbom.cdx.json", "provenance.json")
ENVIRONMENTS = ("/opt/jupyter", "/opt/venv")
VALID = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""
LIST = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"


@pytest.fixture(scope="module")
def tools(lab: Project) -> Iterator[str]:
    """The name of the image with the tools, after `make sbom`."""
    lab.make("sbom")
    name = f"{lab.config()['services']['lab']['image'].removesuffix('-lab')}-sbom"
    yield name
    lab.run("docker", "image", "rm", "--force", name)
    for file in WRITTEN:
        (lab.folder / file).unlink()


@pytest.fixture
def sbom(lab: Project, tools: str) -> dict[str, Any]:
    return json.loads(lab.read("sbom.cdx.json"))


def place(component: dict[str, Any]) -> str:
    """The folder that a component is in."""
    return next((p["value"] for p in component.get("properties", []) if p["name"] == "labdock:place"), "")


def missing(lab: Project, sbom: dict[str, Any]) -> set[str]:
    """What is in the image and not in its bill of materials."""
    listed = {
        (place(c), c["name"].lower(), c["version"], "arch=source" in c.get("purl", "")) for c in sbom["components"]
    }
    found = {f"{where}: {name} {version}" for where, name, version, source in listed if not source}
    installed = set()
    for folder in ENVIRONMENTS:
        python = lab.shell(f'{folder}/bin/python -I -c "{LIST}"').split()
        where = lab.shell(f"echo {folder}/lib/python*/site-packages").strip()
        installed |= {f"{where}: {pair.lower().replace('==', ' ')}" for pair in python}
    for line in lab.shell("dpkg-query --show --showformat '${Package} ${Version}\\n'").splitlines():
        installed.add(f"/var/lib/dpkg: {line}")
    assert len(installed) > 150
    return installed - found


@pytest.mark.full
def test_every_installed_package_is_listed(lab: Project, sbom: dict[str, Any]) -> None:
    assert missing(lab, sbom) == set()
    version = lab.shell("/opt/venv/bin/python -c 'import platform; print(platform.python_version())'").strip()
    assert [c["purl"] for c in sbom["components"] if c["bom-ref"] == "python"] == [f"pkg:generic/python@{version}"]
    assert [c["name"] for c in sbom["components"] if c["type"] == "operating-system"] == ["debian"]


@pytest.mark.full
@pytest.mark.parametrize("name", ["numpy", "jupyterlab", "git"])
def test_a_removed_package_is_noticed(lab: Project, sbom: dict[str, Any], name: str) -> None:
    sbom["components"] = [c for c in sbom["components"] if c["name"] != name]
    assert {line.split()[1] for line in missing(lab, sbom)} == {name}


@pytest.mark.full
@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [("version", 1, True), ("bomFormat", "SPDX", False), ("components", [{"name": "x"}], False)],
    ids=["as written", "another format", "a component without type"],
)
def test_it_fits_the_schema(lab: Project, tools: str, sbom: dict[str, Any], key: str, value: Any, fits: bool) -> None:
    text = json.dumps({**sbom, key: value})
    command = ("docker", "run", "--rm", "--interactive", "--network=none", "--entrypoint=/opt/sbom/bin/python", tools)
    done = lab.run(*command, "-I", "-c", VALID, input=text, check=False)
    assert (done.returncode == 0) is fits, done.stderr


@pytest.mark.nightly
def test_it_is_the_same_each_time(lab: Project, tools: str) -> None:
    before = lab.read("sbom.cdx.json")
    lab.make("sbom")
    assert lab.read("sbom.cdx.json") == before


@pytest.mark.full
def test_provenance_names_the_base_by_digest(lab: Project, tools: str) -> None:
    provenance = json.loads(lab.read("provenance.json"))
    (base,) = provenance["materials"]
    assert base["uri"].startswith("pkg:docker/python@3.13-slim-trixie")
    assert len(base["digest"]["sha256"]) == 64
    assert "build-arg:PYTHON_IMAGE" in provenance["invocation"]["parameters"]["args"]


def record(proxy: str) -> dict[str, Any]:
    """A part of what BuildKit records."""
    return {"invocation": {"parameters": {"args": {"build-arg:HTTPS_PROXY": proxy}}}}


def test_provenance_shows_no_credentials() -> None:
    metadata = {"lab": {"buildx.build.provenance": record("http://me:secret@proxy.example:3128")}, "other": 1}
    found = load("provenance").provenance(json.dumps(metadata))
    assert json.loads(found) == record("http://proxy.example:3128")


def test_an_engine_without_provenance_gives_none() -> None:
    assert load("provenance").provenance(json.dumps({"lab": {"containerimage.digest": "sha256:0"}})) == ""


@pytest.mark.parametrize(
    ("fails", "containers"),
    [
        pytest.param("run *provenance.py", 0, marks=pytest.mark.nightly),
        pytest.param("export *", 1, marks=pytest.mark.full),
        pytest.param("run *--tmpfs*", 1, marks=pytest.mark.nightly),
    ],
)
def test_a_failure_leaves_nothing_behind(lab: Project, tools: str, tmp_path: Path, fails: str, containers: int) -> None:
    """A stand-in for `docker` fails at one step: the files are the old ones, and no container is left."""
    project = Project(lab.folder, lab.answers, dict(lab.environment))
    (tmp_path / "left").mkdir()
    project.environment["TMPDIR"] = str(tmp_path / "left")
    before = {name: lab.read(name) for name in WRITTEN}
    step = fails.replace(" ", "\\ ")
    (tmp_path / "created").touch()
    keep = f'{shutil.which("docker")} "$@" | tee {tmp_path}/created; exit'
    script = f'case "$*" in {step}) touch {tmp_path}/reached; exit 1 ;; create\\ *) {keep} ;; esac'
    stand_in(project, tmp_path / "bin", "docker", script)
    assert project.make("sbom", check=False).returncode != 0
    assert (tmp_path / "reached").exists()
    assert {name: lab.read(name) for name in WRITTEN} == before
    assert list((tmp_path / "left").iterdir()) == [] and not (lab.folder / ".sbom.new").exists()
    created = (tmp_path / "created").read_text().split()
    assert len(created) == containers
    assert set(created).isdisjoint(lab.run("docker", "ps", "--all", "--quiet", "--no-trunc").stdout.split())


# --- the workflow's check ---------------------------------------------------------------------------
def advisory(**fields: str) -> dict[str, Any]:
    """What Debian's security tracker says about one vulnerability."""
    return {"CVE-2026-0001": {"releases": {"trixie": {"status": "resolved", "urgency": "high", **fields}}}}


ADVISORIES = {
    "nothing known": ({}, 0),
    "fixed by a newer version": ({"git": advisory(fixed_version="1:99")}, 1),
    "fixed in this version": ({"git": advisory(fixed_version="1:1")}, 0),
    "not fixed yet": ({"git": advisory(status="open")}, 0),
    "not installed": ({"apache2": advisory(fixed_version="99")}, 0),
}


@pytest.mark.full
@pytest.mark.parametrize("case", ADVISORIES)
def test_the_workflow_finds_what_a_newer_version_fixes(lab: Project, tools: str, tmp_path: Path, case: str) -> None:
    known, status = ADVISORIES[case]
    (tmp_path / "known.json").write_text(json.dumps(known))
    steps = yaml.safe_load(lab.read(".github/workflows/lab.yml"))["jobs"]["vulnerabilities"]["steps"]
    (script,) = (step["run"] for step in steps if "sec-scan" in step.get("run", ""))
    prepare = "mkdir -p .cache/debsbom && cp /known.json .cache/debsbom/security-tracker.json && cat >sbom.cdx.json"
    done = lab.run(
        *("docker", "run", "--rm", "--interactive", "--network=none", "--workdir=/tmp", "--entrypoint=sh"),
        f"--volume={tmp_path}/known.json:/known.json:ro,z",
        *(tools, "-c", f"PATH=/opt/sbom/bin:$PATH; {prepare}\ngh() {{ :; }}\n{script}"),
        input=lab.read("sbom.cdx.json"),
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert ("CVE-2026-0001" in done.stdout) is bool(status)
