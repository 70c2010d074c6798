"""A package is installed as its wheel is: nothing of your environment is left out, packages' own tests included."""

import pytest

from tests.support.project import Project, Render

PROJECT = {
    "dbt_project.yml": "name: iris\nprofile: iris\nversion: '1.0'\nconfig-version: 2\n",
    "profiles.yml": "iris:\n  target: here\n  outputs: {here: {type: duckdb, path: iris.duckdb}}\n",
    "models/flowers.sql": "select 1 as id union all select VALUE as id\n",
    "models/schema.yml": (
        "models:\n  - name: flowers\n    columns:\n      - name: id\n        data_tests: [not_null]\n"
    ),
}
# dbt keeps its built-in tests, not_null among them, in a folder called `tests`.
BUILD = """
import os, pathlib, subprocess
for name, text in FILES.items():
    path = pathlib.Path("dbt", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
options = dict(cwd="dbt", text=True, capture_output=True, env=os.environ | {"DO_NOT_TRACK": "1"})
done = subprocess.run(["dbt", "build", "--profiles-dir", "."], **options)
print(done.returncode, done.stdout, done.stderr)
"""


@pytest.mark.nightly
def test_dbt_finds_its_own_tests(new_project: Render) -> None:
    project = new_project(environment="minimal")
    # Later versions download a program from elsewhere when they are built.
    project.run("make", "add", "PKG=dbt-core==1.11.* dbt-duckdb")
    lab = project.up()
    for value, status, result in (("2", "0", "PASS=2 WARN=0 ERROR=0"), ("null", "1", "not_null_flowers_id")):
        files = {name: text.replace("VALUE", value) for name, text in PROJECT.items()}
        said = lab.run(BUILD.replace("FILES", repr(files)))
        assert said.startswith(status) and result in said, said
    project.down()


# Compares JupyterLab's front end with the list in its wheel. The argument is one more line of this list.
FRONT_END = """
import base64, csv, hashlib, pathlib, sys
site = next(pathlib.Path("/opt/jupyter/lib").glob("python*/site-packages"))
rows = csv.reader([*next(site.glob("jupyterlab-*.dist-info/RECORD")).read_text().splitlines(), *sys.argv[1:]])
listed = {path: digest for path, digest, _ in rows if path.startswith("jupyterlab/static/")}
def digest(file):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
wrong = [path for path in listed if not (site / path).exists() or digest(site / path) != listed[path]]
print(len(listed) > 100, wrong)
"""


@pytest.mark.parametrize("more", ["", "jupyterlab/static/index.html,sha256=other,1", "jupyterlab/static/none.js,,"])
def test_the_second_copy_of_the_front_end_is_replaced_by_the_same_files(lab: Project, more: str) -> None:
    """The controls: a file with other content and a file that is missing are noticed."""
    done = lab.compose("exec", "--no-TTY", "lab", "python", "-I", "-c", FRONT_END, *filter(None, [more]))
    assert done.stdout == f"True {[more.partition(',')[0]] if more else []}\n"
