"""The files of a rendered project in every case, their contents, and what git and the image build see of them."""

import json
import re
import shutil
import tarfile
import tomllib
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.cases import EXAMPLES
from tests.support.project import Project, Render
from tests.support.repository import ROOT, git

# The files outside of lab/ that every project has. Tools and users rely on these names.
FILES = [
    ".copier-answers.yml",
    ".devcontainer/devcontainer.json",
    ".devcontainer/initialize.cmd",
    ".devcontainer/initialize.sh",
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "Makefile",
    "README.md",
    "compose.override.yaml",
    "compose.pins.yaml",
    "compose.yaml",
    "data/.gitkeep",
    "notebooks/README.md",
    "pyproject.toml",
    "requirements.lock",
    "sample.env",
    "secrets/.gitkeep",
    "tests/requirements.lock",
    "tests/test_lab.py",
]
WORKFLOWS = {".github/dependabot.yml", ".github/workflows/lab.yml", ".github/workflows/update.yml"}
# The files that only projects with one of these answers have: questions, each with answers. All other files of
# template/lab are in every project.
DASK = {"scale_out": "dask"}
OWN_CA = {"tls": "self-signed"} | DASK
CERTIFICATES = {"tls": "self-signed files"} | DASK
OPTIONAL = {
    "certs/.gitignore": {"tls": "self-signed files"},
    "egress/.gitignore": {"network": "allowlist"},
    "egress/allowlist.txt": {"network": "allowlist"},
    "egress/log/.gitkeep": {"network": "allowlist"},
    "lab/build/date_java_certificates.py": {"environment": "spark"},
    "lab/commands/certs.mk": OWN_CA,
    "lab/commands/certs.sh": OWN_CA,
    "lab/commands/cluster.mk": DASK,
    "lab/commands/join.sh": DASK,
    "lab/commands/leave.sh": DASK,
    "lab/commands/lib/checks/answers/certificates.sh": CERTIFICATES,
    "lab/commands/lib/checks/answers/cluster.sh": DASK,
    "lab/commands/lib/checks/answers/downloads.sh": {"network": "allowlist sealed"},
    "lab/commands/lib/checks/answers/egress.sh": {"network": "allowlist"},
    "lab/commands/lib/checks/answers/isolated.sh": {"network": "allowlist sealed"},
    "lab/commands/lib/checks/answers/tls.sh": {"tls": "self-signed files"},
    "lab/commands/lib/swarm.sh": DASK,
    "lab/commands/scale.sh": DASK,
    "lab/runtime/cluster.yaml": DASK,
    "lab/runtime/join.yaml": DASK,
    "lab/server/certificates/making.py": OWN_CA,
    "lab/server/certificates/openssl.cnf": OWN_CA,
    "lab/server/certificates/pem.py": CERTIFICATES,
    "lab/server/cluster/authority.py": DASK,
    "lab/server/cluster/dashboard_door.py": DASK,
    "lab/server/cluster/config/dask.yaml": DASK,
    "lab/server/cluster/dask.sh": DASK,
    "lab/server/cluster/lab.sh": DASK,
    "lab/server/cluster/ports.py": DASK,
    "lab/server/cluster/prepare.sh": DASK,
    "lab/server/cluster/services/scheduler.sh": DASK,
    "lab/server/cluster/services/worker.sh": DASK,
    "lab/server/cluster/swarm.py": DASK,
    "lab/server/cluster/tls.sh": DASK,
    "lab/server/cluster/worker.py": DASK,
    "lab/server/egress/allowlist.py": {"network": "allowlist"},
    "lab/server/egress/check.py": {"network": "allowlist"},
    "lab/server/egress/proxy.py": {"network": "allowlist"},
    "lab/server/kernels/ir/kernel.json": {"environment": "r"},
    "lab/server/labextensions/labdock-walls/extension.js": {"network": "allowlist sealed"},
    "lab/server/labextensions/labdock-walls/package.json": {"network": "allowlist sealed"},
    "lab/server/r/packages.R": {"environment": "r"},
    "lab/server/settings/downloads.sh": {"network": "allowlist sealed"},
    "lab/server/spark/spark-defaults.conf": {"environment": "spark"},
    "lab/server/tls/authority.py": {"tls": "self-signed"},
    "lab/server/tls/check.py": {"tls": "self-signed files"},
    "lab/server/tls/prepare.sh": {"tls": "self-signed files"},
    "lab/server/tls/server.sh": {"tls": "self-signed files"},
    "lab/server/tls/settings.py": {"tls": "self-signed files"},
    "lab/server/tls/status.sh": {"tls": "self-signed files"},
    "lab/server/walls/__init__.py": {"network": "allowlist sealed"},
    "lab/server/walls/settings.py": {"network": "allowlist sealed"},
    "notebooks/scale-out.ipynb": DASK,
    "tests/test_network.py": {"network": "allowlist sealed"},
}
LOCKS = [file for file in git("ls-files", "*.lock", cwd=ROOT).splitlines() if (ROOT / file).exists()]

# Files that a lab or its user writes. None may get into git or an image.
PRIVATE = (
    ".env",
    ".env.new",
    ".env.bak",
    "secrets/jupyter_token",
    "secrets/cluster/ca.key",
    "data/patients.csv",
    "data/deep/er.parquet",
    "sbom.cdx.json",
)
# Files of a bundle. git ignores them, and a build sees only those that a rebuild reads.
BUNDLED = ("lab/bundle/SHA256SUMS", "lab/bundle/wheels/any.whl", "lab/bundle/debs/Packages")
PACKED = ("lab/bundle/images.tar", "iris-study-bundle.tar")


def plant(project: Project, *paths: str) -> None:
    """Write a file at each path."""
    for path in paths:
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).write_text("private\n")


@pytest.fixture
def copied(case: Project, tmp_path: Path) -> Project:
    """A copy of the case's project that a test may change."""
    return Project(shutil.copytree(case.folder, tmp_path / "lab"), case.answers)


# --- files ------------------------------------------------------------------------------------------
def further_files(answers: dict[str, Any]) -> set[str]:
    """The files in lab/, and the optional ones, of a project with these answers."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "template/lab", cwd=ROOT).split("\0")
    names = {
        re.sub(r"\{% if .*? %\}(.*?)\{% endif %\}", r"\1", name.removeprefix("template/")).removesuffix(".jinja")
        for name in listed
        if name and (ROOT / name).exists()
    }
    assert names >= {name for name in OPTIONAL if name.startswith("lab/")}
    absent = {
        name
        for name, given in OPTIONAL.items()
        if not any(answers[question] in values.split() for question, values in given.items())
    }
    return (names | OPTIONAL.keys()) - absent


def test_a_project_has_exactly_these_files(case: Project) -> None:
    answers = case.answers
    expected = {*FILES, *further_files(answers), f"notebooks/{EXAMPLES[answers['environment']]}.ipynb"}
    expected |= WORKFLOWS if answers["use_github_actions"] else set()
    expected |= {"LICENSE"} if answers["license"] != "none" else set()
    assert case.files() == expected


def faults_of(text: bytes) -> set[str]:
    """Faults that no file of a project has."""
    patterns = {
        "carriage return": rb"\r",
        "space at the end of a line": rb"[ \t]+$",
        "no newline at the end": rb"[^\n]\Z",
        "empty line at the end": rb"\n\n\Z",
        # GitHub's ${{ expressions }} and the formats of Docker, such as {{.Health}}, are no Jinja.
        "Jinja": rb"(?<!\$)\{\{(?!\.|(print|range|if|with|index) |end\}|\")|\{%|\{#",
    }
    return {fault for fault, pattern in patterns.items() if re.search(pattern, text, re.MULTILINE)}


def test_every_file_is_clean(case: Project) -> None:
    faults = {name: found for name in case.files() if (found := faults_of((case.folder / name).read_bytes()))}
    assert faults == {"lab/server/templates/login.html": {"Jinja"}}  # Jupyter's server fills in this page
    assert not [name for name in case.files() if re.search(r"jinja|\{", name)]


def test_each_fault_is_noticed() -> None:
    assert faults_of(b"") == faults_of(b"name: ${{ github.ref }}\n{{.Health}}\n") == set()
    assert faults_of(b"a\r\n") == {"carriage return"}
    assert faults_of(b"a \nb\n") == {"space at the end of a line"}
    assert faults_of(b"a") == {"no newline at the end"}
    assert faults_of(b"a\n\n") == {"empty line at the end"}
    for left in (b"{{ name }}\n", b"{% if x %}\n", b"{# note #}\n"):
        assert faults_of(left) == {"Jinja"}


# --- contents ---------------------------------------------------------------------------------------
def test_the_answers_file_has_only_answers(case: Project, questions: dict[str, object]) -> None:
    assert case.answers.keys() == {*questions, "_commit", "_src_path"}


def test_the_dockerfile_uses_the_chosen_python(case: Project) -> None:
    base = f"python:{case.answers['python_version']}-slim-trixie"
    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", case.read("Dockerfile"), re.MULTILINE) == [base]
    bases = set(re.findall(r"^FROM (\S+)", case.read("Dockerfile"), re.MULTILINE))
    assert bases == {"${PYTHON_IMAGE}", "build", "compilers", "scratch"}
    pinned = yaml.safe_load(case.read("compose.pins.yaml"))["services"]["pinned"]["build"]["args"]
    assert pinned == {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{base}}}", "DEBIAN_PINS": ""}
    extended = {"file": "../../compose.pins.yaml", "service": "pinned"}
    file = "lab/runtime/proxies_and_certificates.yaml"
    site = yaml.safe_load(case.read(file))["services"]
    assert [site[name]["extends"] for name in ("no-proxy", "no-proxy-set")] == [extended] * 2
    assert {case.service(name)["extends"]["file"] for name in ("lab", "packages")} == {file}


def test_a_gpu_is_reserved_if_it_was_chosen(case: Project) -> None:
    devices = case.service().get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    expected = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert devices == (expected if case.answers["gpu"] == "nvidia" else [])


def test_pyproject_is_valid_and_matches_the_answers(case: Project) -> None:
    project = tomllib.loads(case.read("pyproject.toml"))["project"]
    answers = case.answers
    assert project["name"] == answers["project_slug"]
    assert project["description"] == answers["description"]
    assert project.get("authors", []) == ([{"name": answers["author_name"]}] if answers["author_name"] else [])
    assert project.get("license", "none") == answers["license"]
    assert answers["python_version"] in SpecifierSet(project["requires-python"])
    asked = {Requirement(line).name for line in project["dependencies"]}
    locked = set(re.findall(r"^([a-z0-9-]+)==", case.read("requirements.lock"), re.MULTILINE))
    assert asked <= locked and "ipykernel" in asked
    for line in case.read("lab/locks/required-packages.txt").splitlines():
        name, _, requirement = line.partition(" ")
        assert any(re.fullmatch(name, found) for found in locked) and (requirement or name) in project["dependencies"]
    assert ("nvidia-cudnn" in case.read("requirements.lock")) == (
        answers["environment"] == "pytorch" or answers["gpu"] == "nvidia"
    )


def test_the_licence_names_the_copyright_holder(case: Project) -> None:
    holder = case.answers["author_name"] or f"the authors of {case.answers['project_name']}"
    expected = {
        "MIT": ("MIT License", f"Copyright (c) {holder}\n"),
        "Apache-2.0": ("Apache License", "Version 2.0, January 2004"),
        "BSD-3-Clause": ("BSD 3-Clause License", f"Copyright (c) {holder}\n"),
    }
    for sentence in expected.get(case.answers["license"], ()):
        assert sentence in case.read("LICENSE")


def different_settings(compose: str, sample: str) -> set[str]:
    """Variables that are only in compose.yaml or only in sample.env."""
    used = set(re.findall(r"(?:(?<!\$)\$\{?|^    environment: )([A-Za-z_][A-Za-z0-9_]*)", compose, re.MULTILINE))
    return used ^ set(re.findall(r"^([A-Za-z_]\w*)=", sample, re.MULTILINE))


def test_sample_env_has_every_setting(case: Project) -> None:
    files = ("compose.yaml", "compose.pins.yaml", "lab/runtime/proxies_and_certificates.yaml")
    compose, sample = "".join(map(case.read, files)), case.read("sample.env")
    if "LAB_SWARM_IMAGE" in sample:  # `make scale` reads what Compose does not need
        names = re.findall(r"setting (LAB_SWARM\w+)", case.read("lab/commands/lib/swarm.sh"))
        compose += "".join(f"${{{name}}}" for name in names)
    assert different_settings(compose, sample) == set()
    assert different_settings(compose + "# ${LAB_NEW:-1}\n", sample) == {"LAB_NEW"}
    assert different_settings(compose, sample + "LAB_OLD=1\n") == {"LAB_OLD"}


def test_no_example_has_outputs(case: Project) -> None:
    examples = list((case.folder / "notebooks").glob("*.ipynb"))
    assert len(examples) == 1 + (case.answers["scale_out"] == "dask")
    for example in examples:
        cells = json.loads(example.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def lock_faults(lock: str) -> list[str]:
    """Lines with a host or an option, and entries without an exact version and a hash."""
    entries = re.sub(r"\\\n\s*", "", lock).splitlines()
    entry = r"[a-z0-9-]+==[\w.+!]+ ?(; [^#@\\]+ )?(--hash=sha256:[0-9a-f]{64} ?)+"
    return [line[:60] for line in entries if not re.fullmatch(entry, line) or "://" in line]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_no_host_and_a_hash_for_every_entry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert text and lock_faults(text) == []


def test_a_faulty_lock_is_noticed() -> None:
    good = f"uv==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    assert lock_faults(good) == []
    for bad in (
        "uv==1.0\n",
        "--index-url https://index.example/simple\n",
        good.replace("==1.0", ">=1.0"),
        "./uv.whl\n",
    ):
        assert lock_faults(good + bad) != []


# --- git and the image build -------------------------------------------------------------------------
def test_git_takes_the_project_and_no_private_file(copied: Project) -> None:
    work = ("notebooks/x.ipynb", "compose.prod.yaml", "notebooks/data/notes.md")
    out = (*PRIVATE, *BUNDLED, *PACKED, "notebooks/.ipynb_checkpoints/x.ipynb")
    plant(copied, *out, *work)
    expected = copied.files() - {*out}
    copied.run("git", "init", "--quiet")
    copied.run("git", "add", "--all")
    assert set(copied.run("git", "ls-files", "-z").stdout.split("\0")) - {""} == expected
    assert expected >= {*work, "data/.gitkeep", "secrets/.gitkeep"}
    ignored = copied.run("git", "check-ignore", *PRIVATE, *work).stdout.split()
    assert ignored == list(PRIVATE)


def test_without_gitignore_git_takes_private_files(copied: Project) -> None:
    plant(copied, *PRIVATE)
    (copied.folder / ".gitignore").write_text("")
    copied.run("git", "init", "--quiet")
    copied.run("git", "add", "--all")
    assert set(copied.run("git", "ls-files").stdout.split()) >= set(PRIVATE)


def dockerfile_inputs(project: Project) -> set[str]:
    """The files that COPY and bind mounts of the Dockerfile take from the project's folder."""
    dockerfile = project.read("Dockerfile").replace("\\\n", " ")
    mounts = [dict(re.findall(r"(\w+)=([^,]+)", options)) for options in re.findall(r"--mount=(\S+)", dockerfile)]
    sources = [mount["source"] for mount in mounts if mount["type"] == "bind" and "from" not in mount]
    for copied in re.findall(r"^COPY (?!.*--from=)(.*)", dockerfile, re.MULTILINE):
        sources += [word for word in copied.split() if not word.startswith("--")][:-1]
    return {
        file
        for file in project.files()
        for source in sources
        if f"{file}/".startswith(f"{source}/") or fnmatch(file, source)
    }


def build_context(project: Project) -> set[str]:
    """The files that a build of the project's folder sees. An image that copies all of them lists them."""
    (project.folder / "Everything").write_text("FROM scratch\nCOPY . /\n")
    command = ("docker", "buildx", "build", "--quiet", "--file", "Everything", "--output", "type=tar,dest=../seen", ".")
    project.run(*command)
    with tarfile.open(fileobj=BytesIO((project.folder / "../seen").read_bytes())) as seen:
        return {member.name for member in seen if member.isfile()}


def test_a_build_sees_only_what_the_dockerfile_reads(engine: None, render: Render, tmp_path: Path) -> None:
    project = render(folder=tmp_path / "lab")
    inputs = dockerfile_inputs(project)
    assert {"requirements.lock", "lab/locks/server.lock", "lab/server/entrypoint.sh"} <= inputs
    plant(project, *PRIVATE, *PACKED, "notebooks/mine.ipynb", "lab/server/__pycache__/contents.pyc", ".git/config")
    assert build_context(project) == inputs
    plant(project, *BUNDLED)
    assert build_context(project) == inputs | {*BUNDLED}
    (project.folder / ".dockerignore").write_text("")
    assert build_context(project) >= {*PRIVATE, ".git/config"}
