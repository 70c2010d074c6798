"""The table of a project's files: what each is, from its own first sentence, and whose it is, from copier.yml."""

import re
from pathlib import Path

import yaml

# Files that cannot say it themselves, by what their name in a project starts with.
SILENT = {
    ".devcontainer/open.cmd": "Runs on Windows before an editor opens the lab, if there is no `sh`.",
    ".gitkeep": "Keeps the folder in git, where what lies in it is not.",
    "LICENSE": "The licence that you answered.",
    "README.md": "What the project is and how to start it.",
    "lab/README.md": "The manual of the lab.",
    "lab/locks/build.lock": "What the image is built with: uv, and what builds pyspark; versions and hashes.",
    "lab/locks/required-packages.txt": "The packages that the lab needs in yours; `make up` and `make doctor` check.",
    "lab/runtime/empty-ca.pem": "Empty: the certificates of a site that has none.",
    "lab/locks/sbom.lock": "What `make sbom` runs: versions and hashes.",
    "lab/runtime/seccomp.json": "The system calls that programs in the lab may make.",
    "lab/locks/server.lock": "The server's packages: versions and hashes.",
    "lab/server/kernels/": "A kernel, and how it is started.",
    "lab/server/labconfig/": "How the front end behaves.",
    "lab/server/migrated": "Empty: tells Jupyter that there is nothing to take over.",
    "lab/server/workspace.json": "What JupyterLab shows first.",
    "notebooks/README.md": "The page that the lab opens with.",
    "notebooks/": "An example to start from.",
    "requirements.lock": "The exact versions and hashes of your packages; `make add` and `make lock` write it.",
    "tests/requirements.lock": "What `make test` runs: versions and hashes.",
}
# What is made later: (file, what it is, by whom).
MADE = [
    (".env", "Your settings.", "`make env`, or you"),
    ("secrets/jupyter_token", "The token that opens the lab.", "the first start"),
    ("lab/bundle/*", "What builds take in place of a network.", "an unpacked bundle"),
    ("sbom.cdx.json, provenance.json", "What the image holds, and what it was built from.", "`make sbom`"),
    ("NAME-bundle.tar", "The project and all that it takes to run elsewhere.", "`make bundle`"),
    (".venv-tests/", "What `make test` runs in.", "`make test`"),
]
OPTIONAL = re.compile(r"\{% if (.*?) %\}(.*?)\{% endif %\}")


def path_of(source: Path, template: Path) -> str:
    """Where a file of the template lies in a project."""
    path = OPTIONAL.sub(r"\2", source.relative_to(template).as_posix()).removesuffix(".jinja")
    return path.replace("{{ _copier_conf.answers_file }}", ".copier-answers.yml")


def condition(source: Path) -> str:
    """The answer that brings a file, empty where every project has it."""
    found = OPTIONAL.search(source.as_posix())
    return re.sub(r"(\w+) == '(.*)'", r"\1: \2", f"`{found[1]}`") if found else ""


def sentence(path: str, text: str) -> str:
    """What a file is: of `SILENT`, or the first sentence of its comment. Raises `ValueError` without either."""
    for start in (path, path.rpartition("/")[2], *SILENT):
        if start in SILENT and (path.startswith(start) or path.endswith(f"/{start}")):
            return SILENT[start]
    text = re.sub(r"\A#!.*\n", "", text)
    if found := re.match(r'(?:(?:#|//) .*\n)+|"""(?s:.*?)(?:"""|\n\n)', text):
        words = " ".join(re.sub(r'^(?:#|//) |"""', "", found[0], flags=re.MULTILINE).split())
        return re.split(r"\.(?= |$)|:(?= `)", words)[0] + "."
    raise ValueError(f"template: {path} does not say what it is: give it a comment, or a line in tools/files.py")


def yours(copier: str) -> tuple[str, ...]:
    """What an update leaves alone: of copier.yml (its text)."""
    return tuple(name.lstrip("/") for name in yaml.safe_load(copier)["_skip_if_exists"])


def rows(template: Path, copier: str) -> list[tuple[str, ...]]:
    """File, what it is, whose, with which answer: for every file of a project, and those that are made later."""
    found = []
    for source in template.rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            path = path_of(source, template)
            whose = "yours" if path.startswith(yours(copier)) else "the template's"
            answer = condition(source)
            found.append(
                (f"`{path}`", sentence(path, source.read_text("utf-8")), whose, f"`{answer}`" if answer else "")
            )
    found.sort(key=lambda row: (row[0].count("/") > 0, row))
    return found + [(f"`{path}`", what, f"yours, made by {maker}", "") for path, what, maker in MADE]
