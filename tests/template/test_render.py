"""What a rendered project holds, case by case, and what git and the image build see of it."""

import json
import re
import shutil
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.cases import EXAMPLES
from tests.conftest import ROOT, Render, git
from tests.support.project import Project

FILES = {
    *("README.md", "Dockerfile", "compose.yaml", "compose.override.yaml", "compose.pins.yaml", "sample.env"),
    "Makefile",
    *("pyproject.toml", "requirements.lock", ".copier-answers.yml", ".pre-commit-config.yaml"),
    *(".dockerignore", ".gitattributes", ".gitignore", ".devcontainer/devcontainer.json"),
    *("data/.gitkeep", "notebooks/README.md", "secrets/.gitkeep"),
    *(
        *(
            f"lab/build/{name}.py"
            for name in ("attempt", "bundle", "compare_images", "compile_bytecode", "compose_config", "packages")
        ),
        *(f"lab/build/{name}.py" for name in ("provenance", "sbom", "split_layers")),
        "lab/locks/build.lock",
        "lab/locks/server.lock",
        "lab/runtime/empty-ca.pem",
    ),
    "lab/runtime/empty-git/.gitkeep",
    *(
        "lab/runtime/seccomp.json",
        "lab/runtime/podman.yaml",
        "lab/locks/required-packages.txt",
        "lab/bundle/.gitkeep",
        "lab/locks/sbom.lock",
    ),
    *("lab/server/contents.py", "lab/server/entrypoint.sh", "lab/server/healthcheck.sh"),
    *("lab/server/jupyter_server_config.py", "lab/server/kernels/python3/kernel.json", "lab/server/migrated"),
    *("lab/server/labconfig/page_config.json", "lab/server/labconfig/default_setting_overrides.json"),
    *("lab/server/workspace.json", "lab/server/bin/pip", "lab/server/ipython/startup/pip.py"),
    "lab/server/ipython/startup/umask.py",
    *(f"lab/commands/lib/{name}.sh" for name in ("all", "builder", "checks", "copy_files", "engine")),
    *(f"lab/commands/lib/{name}.sh" for name in ("pins", "settings", "sha256")),
    *(f"lab/commands/{name}.sh" for name in ("bundle", "doctor", "env", "newest", "open", "packages", "pin")),
    *(
        f"lab/commands/{name}.sh"
        for name in ("reset", "restore", "rotate", "run", "sbom", "test", "up", "url", "verify")
    ),
    *("tests/requirements.lock", "tests/test_lab.py"),
}
LOCKS = [file for file in git("ls-files", "*.lock", cwd=ROOT).splitlines() if (ROOT / file).exists()]

# By environment, besides the example.
OPTIONAL = {
    "spark": ["lab/build/date_java_certificates.py", "lab/server/spark/spark-defaults.conf"],
    "r": ["lab/server/kernels/ir/kernel.json"],
}

# What the Dockerfile reads, and nothing else.
CONTEXT = {"lab/bundle/.gitkeep", "lab/runtime/seccomp.json", "requirements.lock", "tests/requirements.lock"} | {
    name
    for name in FILES
    if name.startswith(("lab/build/", "lab/server/")) or re.fullmatch(r"lab/locks/.*\.lock", name)
}
# Written by a lab or its user; none of it may reach git or an image.
PRIVATE = (
    ".env",
    ".env.new",
    ".env.bak",
    "secrets/jupyter_token",
    "data/patients.csv",
    "data/deep/er.parquet",
    "sbom.cdx.json",
)
# What a bundle brings: not for git, and only the parts that a rebuild reads are for the build.
BUNDLED = ("lab/bundle/SHA256SUMS", "lab/bundle/wheels/any.whl", "lab/bundle/debs/Packages")
PACKED = ("lab/bundle/images.tar", "iris-study-bundle.tar")


def plant(project: Project, *paths: str) -> None:
    """Put a file at each path."""
    for path in paths:
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).write_text("private\n")


@pytest.fixture
def copied(case: Project, tmp_path: Path) -> Project:
    """The case's project in a folder of the test's own."""
    return Project(shutil.copytree(case.folder, tmp_path / "lab"), case.answers)


# --- files ------------------------------------------------------------------------------------------
def test_a_project_is_exactly_these_files(case: Project) -> None:
    expected = set(FILES)
    if case.answers["license"] != "none":
        expected.add("LICENSE")
    if case.answers["use_github_actions"]:
        expected |= {".github/dependabot.yml", ".github/workflows/lab.yml", ".github/workflows/update.yml"}
    environment = case.answers["environment"]
    expected |= {f"notebooks/{EXAMPLES[environment]}.ipynb", *OPTIONAL.get(environment, ())}
    assert case.files() == expected


def blemishes(text: bytes) -> set[str]:
    """What no file of a project shows: carriage returns, blanks at a line's end, an open last line, Jinja."""
    faults = {
        "carriage return": rb"\r",
        "white space at a line's end": rb"[ \t]+$",
        "no newline at the end": rb"[^\n]\Z",
        "empty line at the end": rb"\n\n\Z",
        # Not ${{ GitHub's expressions }} and {{.Docker's formats}}.
        "Jinja": rb"(?<!\$)\{\{(?!\.)|\{%|\{#",
    }
    return {fault for fault, pattern in faults.items() if re.search(pattern, text, re.MULTILINE)}


def test_every_file_is_clean(case: Project) -> None:
    assert {name: found for name in case.files() if (found := blemishes((case.folder / name).read_bytes()))} == {}
    assert not [name for name in case.files() if re.search(r"jinja|\{", name)]


def test_a_blemish_is_noticed() -> None:
    assert blemishes(b"") == blemishes(b"name: ${{ github.ref }}\n{{.Health}}\n") == set()
    assert blemishes(b"a\r\n") == {"carriage return"}
    assert blemishes(b"a \nb\n") == {"white space at a line's end"}
    assert blemishes(b"a") == {"no newline at the end"}
    assert blemishes(b"a\n\n") == {"empty line at the end"}
    for left in (b"{{ name }}\n", b"{% if x %}\n", b"{# note #}\n"):
        assert blemishes(left) == {"Jinja"}


# --- contents ---------------------------------------------------------------------------------------
def test_the_answers_file_holds_answers_only(case: Project, questions: dict[str, object]) -> None:
    assert case.answers.keys() == {*questions, "_commit", "_src_path"}


def test_the_dockerfile_starts_from_the_asked_python(case: Project) -> None:
    base = f"python:{case.answers['python_version']}-slim-trixie"
    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", case.read("Dockerfile"), re.MULTILINE) == [base]
    bases = set(re.findall(r"^FROM (\S+)", case.read("Dockerfile"), re.MULTILINE))
    assert bases == {"${PYTHON_IMAGE}", "build", "scratch"}
    pinned = yaml.safe_load(case.read("compose.pins.yaml"))["services"]["pinned"]["build"]["args"]
    assert pinned == {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{base}}}", "DEBIAN_PINS": ""}
    extended = {"file": "compose.pins.yaml", "service": "pinned"}
    assert [case.service(name)["extends"] for name in ("lab", "packages")] == [extended] * 2


def test_a_graphics_processor_is_reserved_where_it_was_asked_for(case: Project) -> None:
    devices = case.service().get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    expected = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert devices == (expected if case.answers["gpu"] == "nvidia" else [])


def test_the_package_list_is_valid_and_fits_the_answers(case: Project) -> None:
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


def test_the_licence_names_its_holder(case: Project) -> None:
    holder = case.answers["author_name"] or f"the authors of {case.answers['project_name']}"
    expected = {
        "MIT": ("MIT License", f"Copyright (c) {holder}\n"),
        "Apache-2.0": ("Apache License", "Version 2.0, January 2004"),
        "BSD-3-Clause": ("BSD 3-Clause License", f"Copyright (c) {holder}\n"),
    }
    for sentence in expected.get(case.answers["license"], ()):
        assert sentence in case.read("LICENSE")


def different_settings(compose: str, sample: str) -> set[str]:
    """Variables that only one of compose.yaml and sample.env names."""
    used = set(re.findall(r"(?:(?<!\$)\$\{?|^    environment: )([A-Za-z_][A-Za-z0-9_]*)", compose, re.MULTILINE))
    return used ^ set(re.findall(r"^([A-Za-z_]\w*)=", sample, re.MULTILINE))


def test_sample_env_names_every_setting(case: Project) -> None:
    compose, sample = case.read("compose.yaml") + case.read("compose.pins.yaml"), case.read("sample.env")
    assert different_settings(compose, sample) == set()
    assert different_settings(compose + "# ${LAB_NEW:-1}\n", sample) == {"LAB_NEW"}
    assert different_settings(compose, sample + "LAB_OLD=1\n") == {"LAB_OLD"}


def test_the_notebook_carries_no_outputs(case: Project) -> None:
    cells = json.loads(case.read(f"notebooks/{EXAMPLES[case.answers['environment']]}.ipynb"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def lock_faults(lock: str) -> list[str]:
    """Lines that name a host or an option, and entries that are not one version with a hash."""
    entries = re.sub(r"\\\n\s*", "", lock).splitlines()
    entry = r"[a-z0-9-]+==[\w.+!]+ ?(; [^#@\\]+ )?(--hash=sha256:[0-9a-f]{64} ?)+"
    return [line[:60] for line in entries if not re.fullmatch(entry, line) or "://" in line]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_hashes_every_entry(lock: str) -> None:
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


# --- what leaves the folder -------------------------------------------------------------------------
def test_git_takes_the_project_and_nothing_private(copied: Project) -> None:
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


def test_without_its_gitignore_git_would_take_all(copied: Project) -> None:
    plant(copied, *PRIVATE)
    (copied.folder / ".gitignore").write_text("")
    copied.run("git", "init", "--quiet")
    copied.run("git", "add", "--all")
    assert set(copied.run("git", "ls-files").stdout.split()) >= set(PRIVATE)


def build_context(project: Project) -> set[str]:
    """The files that a build of the project's folder sees: an image that takes all of them."""
    (project.folder / "Everything").write_text("FROM scratch\nCOPY . /\n")
    command = ("docker", "buildx", "build", "--quiet", "--file", "Everything", "--output", "type=tar,dest=../seen", ".")
    project.run(*command)
    with tarfile.open(fileobj=BytesIO((project.folder / "../seen").read_bytes())) as seen:
        return {member.name for member in seen if member.isfile()}


def test_a_build_sees_nothing_private(engine: None, render: Render, tmp_path: Path) -> None:
    project = render(folder=tmp_path / "lab")
    plant(project, *PRIVATE, *PACKED, "notebooks/mine.ipynb", "lab/server/__pycache__/contents.pyc", ".git/config")
    assert build_context(project) == CONTEXT
    plant(project, *BUNDLED)
    assert build_context(project) == CONTEXT | {*BUNDLED}
    (project.folder / ".dockerignore").write_text("")
    assert build_context(project) >= {*PRIVATE, ".git/config"}
