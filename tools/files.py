"""The table of a project's files. A file's first comment says what the file is. copier.yml says who owns it."""

import re
from fnmatch import fnmatch
from pathlib import Path

import yaml

# Pattern of the path -> meaning of the file. These files contain no comment about themselves.
SILENT = {
    "LICENSE": "The licence that you chose.",
    "README.md": "The purpose of the project, and the commands that start the lab.",
    "lab/README.md": "The manual of the lab.",
    "lab/answers-file.txt": "The name of the file with your answers to Copier's questions.",
    "notebooks/README.md": "The page that the lab shows at the first visit.",
    "notebooks/*.ipynb": "An example notebook.",
    "requirements.lock": "Exact versions and hashes of your packages. `make add` and `make lock` write this file.",
    "tests/requirements.lock": "Exact versions and hashes of the packages for `make test`.",
    "lab/locks/build.lock": "Exact versions and hashes of the packages that build the image, such as uv.",
    "lab/locks/sbom.lock": "Exact versions and hashes of the packages for `make sbom`.",
    "lab/locks/server.lock": "Exact versions and hashes of the server's packages.",
    "lab/locks/required-packages.txt": "Names of the packages that the lab needs in your lock.",
    "lab/runtime/*.pem": "An empty certificate file. The lab uses this file if LAB_CA_BUNDLE is not set.",
    "lab/runtime/seccomp.json": "The list of the system calls that programs in the lab can make.",
    "lab/server/custom/custom.css": "A style that hides Panel's buttons, because they need Panel's server extension.",
    "lab/server/kernels/*": "The command that starts a notebook kernel.",
    "lab/server/labextensions/labdock/package.json": "The name of the lab's front-end extension.",
    "lab/server/labextensions/labdock-walls/package.json": "The name of the front-end extension for LAB_DOWNLOADS=off.",
    "lab/server/nbconvert/*": "The template of PDF and LaTeX exports, with fonts for more alphabets.",
    "lab/server/templates/login.html": "The login page.",
    "lab/server/labconfig/*": "Default settings of JupyterLab.",
    "lab/server/workspace.json": "The files that JupyterLab opens on the first visit.",
}
# Files that commands make later: (file, meaning, maker).
MADE = [
    (".env", "Your settings.", "`make env`"),
    ("secrets/jupyter_token", "The token: the password of the lab.", "the first start"),
    (
        "lab/locks/server-extensions.lock",
        "Exact versions and hashes of the server extensions in `pyproject.toml`.",
        "`make extend`",
    ),
    ("lab/bundle/*", "The files of an unpacked bundle, for a build without a network.", "unpacking a bundle"),
    ("sbom.cdx.json, provenance.json", "The contents of the image, and the record of its build.", "`make sbom`"),
    ("NAME-bundle.tar", "A bundle: everything that is needed to run and rebuild the lab offline.", "`make bundle`"),
    (".venv-tests/", "The Python environment of `make test`.", "`make test`"),
]
OPTIONAL = re.compile(r"\{% if (.*?) %\}(.*?)\{% endif %\}")


def path_of(source: Path, template: Path) -> str:
    """The path that a file of the template gets in a project."""
    path = OPTIONAL.sub(r"\2", source.relative_to(template).as_posix()).removesuffix(".jinja")
    return path.replace("{{ _copier_conf.answers_file }}", ".copier-answers.yml")


def condition(source: Path) -> str:
    """The answer that adds a file, as `question: choice` or `question: not choice`. Empty if every project has it."""
    found = OPTIONAL.findall(source.as_posix())
    answer = re.sub(r"(\w+) == '(.*)'", r"\1: \2", found[-1][0]) if found else ""
    return re.sub(r"(\w+) != '(.*)'", r"\1: not \2", answer)


def sentence(path: str, text: str) -> str:
    """The meaning of a file, from `SILENT` or the first sentence of its comment. Without both, raises `ValueError`."""
    for pattern, meaning in SILENT.items():
        if fnmatch(path, pattern):
            return meaning
    text = re.sub(r"\A(?:#!|@echo).*\n", "", text)
    if found := re.match(r'(?:(?:#|//|rem) .*\n)+|"""(?s:.*?)(?:"""|\n\n)', text):
        lines = re.sub(r'^# shellcheck .*|^(?:#|//|rem) |"""', "", found[0], flags=re.MULTILINE)
        return re.split(r"[.?](?= |$)|:(?= `)", " ".join(lines.split()))[0] + "."
    raise ValueError(f"template: {path} has no first comment. Add one, or add a line to SILENT in tools/files.py.")


def unused(template: Path) -> list[str]:
    """The patterns of `SILENT` that match no file of the template."""
    paths = [path_of(source, template) for source in template.rglob("*")]
    return [pattern for pattern in SILENT if not any(fnmatch(path, pattern) for path in paths)]


def yours(copier: str) -> tuple[str, ...]:
    """The starts of the paths that an update never changes. `copier` is the text of copier.yml."""
    return tuple(name.lstrip("/") for name in yaml.safe_load(copier)["_skip_if_exists"])


def rows(template: Path, copier: str) -> list[tuple[str, ...]]:
    """One row for each file: its path, its meaning, its owner, and the answers that add it.

    Files that commands make later come last. `.gitkeep` files are left out.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    kept = yours(copier)
    for source in template.rglob("*"):
        if source.is_file() and source.name != ".gitkeep" and "__pycache__" not in source.parts:
            path = path_of(source, template)
            whose = "yours" if path.startswith(kept) else "the template's"
            meaning = sentence(path, source.read_text(encoding="utf-8"))
            answers = found.setdefault((f"`{path}`", meaning, whose), [])
            answers += [f"`{answer}`"] if (answer := condition(source)) else []
    listed = [(*row, ", ".join(sorted(answers))) for row, answers in found.items()]
    listed.sort(key=lambda row: (row[0].count("/") > 0, row))
    return listed + [(f"`{path}`", what, f"yours, made by {maker}", "") for path, what, maker in MADE]
