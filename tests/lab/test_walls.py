"""The headers of a lab whose notebooks have no network, and LAB_DOWNLOADS."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.support.dashboards import entered, hostile
from tests.support.network import Answer, bearer, own, routes, send, sweep
from tests.support.project import Project, Render
from tests.support.refusal import refused
from tests.support.server_probes import page
from tests.support.variants import beside, with_server
from tests.support.waiting import becomes, health, until
from tools.notebook import LabClient

POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
# Request -> its status with LAB_DOWNLOADS=on and with off.
DOWNLOADS = {
    "/files/notebooks/walls-a.csv": (200, 403),
    "/files/notebooks/walls-a.csv?download=1": (200, 403),
    "/files/notebooks/walls-a.ipynb": (200, 403),
    "/files/notebooks/walls-a.html": (200, 403),
    "/files/notebooks/walls-a.png": (200, 200),  # pages show images
    "/files/notebooks/walls-a.png?download=1": (200, 403),
    "/nbconvert/html/notebooks/walls-a.ipynb": (200, 403),
    "/nbconvert/script/notebooks/walls-a.ipynb?download=true": (200, 403),
    "/api/contents/notebooks/walls-a.csv": (200, 200),  # the page reads all files in this way
}
MENUS = {"docmanager-extension:download", "notebook-extension:export", "apputils-extension:print"}


def policies(answer: Answer) -> list[str]:
    return answer.headers.get_all("Content-Security-Policy", [])


def unprotected(project: Project) -> list[str]:
    """The routes with an answer that lacks the policy."""
    lab = project.client()
    answers = list(sweep(lab, routes(project), ["GET"], [bearer(lab)]))
    assert len(answers) > 50
    return [
        route.pattern
        for route, _, answer in answers
        if answer.status and not any(POLICY in each for each in policies(answer))  # one route never answers
    ]


def test_every_answer_keeps_scripts_from_other_machines(sealed: Project) -> None:
    assert unprotected(sealed) == []


def test_control_an_open_lab_has_no_such_policy(lab: Project) -> None:
    assert len(unprotected(lab)) > 50


@contextmanager
def files(project: Project) -> Iterator[None]:
    """Some files in notebooks/."""
    client = project.client()
    notebook = new_notebook(cells=[new_code_cell("1")], metadata=KERNEL)
    texts = {"a.csv": "a,b\n", "a.html": "<p>a", "a.png": "no image"}
    for name, text in texts.items():
        file = {"type": "file", "format": "text", "content": text}
        client.request("PUT", f"contents/notebooks/walls-{name}", json=file)
    client.request("PUT", "contents/notebooks/walls-a.ipynb", json={"type": "notebook", "content": notebook})
    yield
    for name in (*texts, "a.ipynb"):
        client.request("DELETE", f"contents/notebooks/walls-{name}")


def test_the_stricter_policies_stay(sealed: Project) -> None:
    """Files run in a sandbox, the API allows nothing, and no other site shows a page in a frame."""
    lab = sealed.client()
    with files(sealed):
        file = send(lab, "GET", "/files/notebooks/walls-a.html", [bearer(lab)])
    assert any(each.endswith("; sandbox allow-scripts") for each in policies(file))
    assert any("default-src 'none'" in each for each in policies(send(lab, "GET", "/api/status", [bearer(lab)])))
    for path in ("/lab", "/login", "/nowhere"):
        assert any("frame-ancestors 'self'" in each for each in policies(send(lab, "GET", path, [bearer(lab)]))), path


@pytest.mark.attack(
    "In a sealed lab, register a service worker. Its answers would be pages without the lab's headers.", "403"
)
def test_no_service_worker_is_registered(sealed: Project, lab: Project) -> None:
    """The control: an open lab answers."""
    asked = [
        send(each.client(), "GET", "/static/favicon.ico", [("Service-Worker", "script")]).status
        for each in (sealed, lab)
    ]
    assert asked == [403, 200]


@pytest.mark.full
@pytest.mark.attack(
    "A dashboard of a sealed lab has its own policy, and reports each violation to another machine.",
    "The lab's policy applies too. No report leaves the lab.",
)
def test_a_dashboard_has_the_labs_policy(sealed: Project, lab: Project) -> None:
    """The control: an open lab passes the report's address on."""
    reports = []
    for project in (sealed, lab):
        with hostile(project):
            answer = entered(project.client()).ask("/raw/reporting")
        reports.append("foreign.example" in str(answer.headers))
        assert any(POLICY in each for each in policies(answer)) is (project is sealed)
        assert "img-src 'none'" in " ".join(policies(answer))
    assert reports == [False, True]


# --- LAB_DOWNLOADS ----------------------------------------------------------------------------------
def statuses(lab: LabClient) -> dict[str, int]:
    headers = [bearer(lab), ("Referer", f"http://{own(lab)}/lab")]
    return {path: send(lab, "GET", path, headers).status for path in DOWNLOADS}


def test_downloads_are_on(sealed: Project) -> None:
    with files(sealed):
        assert statuses(sealed.client()) == {path: on for path, (on, _) in DOWNLOADS.items()}
    disabled = {name.removeprefix("@jupyterlab/") for name in page(sealed.client())["disabledExtensions"]}
    assert not MENUS & disabled


def test_downloads_can_be_turned_off(sealed: Project, tmp_path: Path) -> None:
    with beside(sealed, tmp_path, LAB_DOWNLOADS="off") as twin:
        twin.serve()
        lab = twin.client()
        with files(twin):
            assert statuses(lab) == {path: off for path, (_, off) in DOWNLOADS.items()}
            opened = [bearer(lab), ("Referer", f"http://{own(lab)}/lab"), ("Sec-Fetch-Dest", "document")]
            assert send(lab, "GET", "/files/notebooks/walls-a.png", opened).status == 403
            notebook = json.dumps({"content": new_notebook(cells=[new_code_cell("1")]), "name": "a.ipynb"}).encode()
            assert send(lab, "POST", "/nbconvert/html", [bearer(lab)], notebook).status == 403
        assert "allow-downloads" not in " ".join(policies(send(lab, "GET", "/lab", [bearer(lab)])))
        assert {name.removeprefix("@jupyterlab/") for name in page(lab)["disabledExtensions"]} >= MENUS
        with hostile(twin):
            assert entered(lab).ask("/raw/attachment").status == 403


def test_a_wrong_value_is_refused(sealed: Project, new_project: Render) -> None:
    """By the entrypoint, and by `make up`."""
    done = sealed.compose("run", "--rm", "--no-deps", "--env", "LAB_DOWNLOADS=no", "prepare", check=False)
    assert done.returncode == 1
    assert "labdock: LAB_DOWNLOADS is 'no', not on or off. Set it to on or off in .env." in done.stderr
    project = new_project(network="sealed")
    project.set_env(LAB_DOWNLOADS="no")
    refused(project, "LAB_DOWNLOADS is 'no', not on or off. Set it to on or off in .env.")


def test_a_project_with_an_open_network_has_nothing_of_this(render: Render) -> None:
    """The control: a sealed project has it."""
    projects = [render(), render(network="sealed")]
    opened, sealed = ([name for name in each.files() if words(each.folder / name)] for each in projects)
    assert opened == [] and len(sealed) > 4


def words(file: Path) -> bool:
    """Does a file contain anything of the walls?"""
    text = file.read_bytes().lower()
    return any(word in text + file.name.encode() for word in (b"lab_downloads", b"walls", b"default-src"))


@pytest.mark.parametrize("fault", ["raise RuntimeError('broken')", None], ids=["it cannot be loaded", "the control"])
def test_without_its_policy_the_server_does_not_serve(sealed: Project, tmp_path: Path, fault: str | None) -> None:
    source = sealed.read("lab/server/walls/__init__.py")
    layer = with_server(sealed, tmp_path, "walls/__init__.py", source + (f"\n{fault}\n" if fault else ""))
    with beside(sealed, tmp_path, layer) as twin:
        twin.compose("up", "--detach", "--no-build", "--no-deps", "server", "lab")
        if fault:
            until(lambda: "RuntimeError: broken" in twin.logs(), "the server says so")
            until(lambda: twin.container("server")["RestartCount"] > 0, "the server ends")
            assert health(twin) != "healthy"
        else:
            becomes(twin, "healthy")
