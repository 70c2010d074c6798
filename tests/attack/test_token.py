"""A search for the token in every place that a program can read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.network import METHODS, Route, routes, sweep
from tests.support.project import Project
from tests.support.server_probes import get, log_in, running_kernel
from tests.support.variants import beside, one_container, with_server
from tests.support.waiting import until
from tools.notebook import LabClient

CONFIG = "jupyter_server_config.py"
# In a kernel: every readable file, and each process's arguments and environment. TOKEN is the token in hexadecimal
# digits, so that the search does not find itself.
HUNT = """
import os, pathlib, stat
token = bytes.fromhex("TOKEN")
found = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("environ", "cmdline"):
        try:
            if token in (process / name).read_bytes():
                found.append(f"{name} of {process.name}")
        except OSError:
            pass  # the process has ended, or belongs to another user
for top in ("/dev", "/etc", "/home", "/opt/labdock", "/root", "/run", "/tmp", "/usr/local", "/var", "/workspace"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode) and token in pathlib.Path(path).read_bytes():
                    found.append(path)
            except OSError:
                pass
print(*sorted(found))
"""


def hunt(project: Project) -> str:
    running = project.client()
    return running.run(HUNT.replace("TOKEN", running.token.encode().hex()))


@pytest.mark.attack(
    "Search files, environments and command lines for the token from a notebook kernel",
    "Nothing contains the token.",
)
def test_a_kernel_does_not_find_the_token(lab: Project) -> None:
    assert hunt(lab) == "\n"


@pytest.mark.full
def test_the_search_finds_the_token_that_jupyter_writes(lab: Project, tmp_path: Path) -> None:
    """The control: in one container, without its guard, the server writes the token to a file. A kernel finds it."""
    config = lab.read(f"lab/server/{CONFIG}")
    (guard,) = [
        line for line in config.splitlines(keepends=True) if line.startswith("ServerApp.write_server_info_file")
    ]
    token = (lab.folder / "secrets/jupyter_token").read_text()
    leak = {"services": {"server": {**one_container(lab), "environment": {"LEAK": token}}}}
    with beside(lab, tmp_path, with_server(lab, tmp_path, CONFIG, config.replace(guard, "")), leak) as twin:
        twin.serve()
        found = hunt(twin)
    assert "/run/lab/jpserver-" in found and "environ of 1" in found and "/run/secrets/jupyter_token" in found


# Outside: what the engine shows, and the arguments and environment of each process in the container.
PROCESSES = "for file in /proc/[0-9]*/{file}; do tr '\\0' ' ' <$file; done 2>/dev/null || true"


def seen_in(project: Project, token: str) -> set[str]:
    """The places that show the token."""
    containers = project.containers()
    image = project.container()["Image"]

    def inside(file: str) -> str:
        return "".join(project.shell(PROCESSES.format(file=file), service) for service in ("server", "lab"))

    places = {
        "the containers' inspection": json.dumps(containers),
        "the image's inspection": project.run("docker", "image", "inspect", image).stdout,
        "the image's history": project.run("docker", "history", "--no-trunc", image).stdout,
        "the log": project.logs(),
        "arguments": inside("cmdline"),
        "environments": inside("environ"),
    }
    assert "JUPYTER_USERNAME" in places["environments"]  # the environments could be read
    return {place for place, text in places.items() if token in text}


@pytest.mark.attack(
    "Search `docker inspect`, the image's history, the logs, and the arguments and environment of every process",
    "None of them contains the token.",
)
def test_the_engine_shows_no_token(lab: Project) -> None:
    running = lab.client()
    # The server logs both requests.
    assert [get(running, "/api/contents", token) for token in (running.token, "0" * 64)] == [200, 403]
    with running_kernel(running):
        assert seen_in(lab, running.token) == set()


# Labs that show the token.
SLEEP = {"entrypoint": ["sh", "-c", "exec sleep infinity"]}
LEAKS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "variable": (
        {**SLEEP, "environment": {"LEAK": "TOKEN"}},
        {"the containers' inspection", "environments"},
    ),
    "argument": (
        {"entrypoint": ["sh", "-c", "echo $0; sleep infinity; true", "TOKEN"]},
        {"the containers' inspection", "arguments", "the log"},
    ),
    "image": (
        {**SLEEP, "image": "LEAKING"},
        {"the containers' inspection", "the image's inspection", "the image's history", "environments"},
    ),
}


@pytest.mark.parametrize("leak", [pytest.param(leak, marks=pytest.mark.full) for leak in LEAKS])
def test_a_place_that_shows_the_token_is_found(lab: Project, tmp_path: Path, leak: str) -> None:
    """The control: each place that shows the token is found."""
    token, (changes, places) = "0123456789abcdef" * 4, LEAKS[leak]
    leaking = f"{lab.config()['name']}-leaking"
    dockerfile = f"FROM {lab.config()['services']['lab']['image']}\nENV LEAK={token}\n"
    lab.run("docker", "build", "--quiet", "--tag", leaking, "-", input=dockerfile)
    text = json.dumps(changes).replace('TOKEN"', f'{token}"').replace("LEAKING", leaking)
    layer = {"services": {"lab": {**json.loads(text), "pull_policy": "never"}}}
    try:
        with beside(lab, tmp_path, layer) as twin:
            twin.compose("up", "--detach", "--no-build")
            until(lambda: seen_in(twin, token) == places, f"{token} is seen in {places}")
    finally:
        lab.run("docker", "image", "rm", leaking)


# --- after login: tests/clients/browser/test_no_token.py searches a browser --------------------------
ERROR = Route("/no/such/page$", websocket=False)
# The guards in the configuration, and where pages contain the token without them: the first part of their paths.
PAGES = {
    'page_config, "token": ""': (', "token": ""}', "}", {"lab", "consoles", "terminals"}),
    "template_namespace": (' | {"token": ""})', ")", {"no"}),
}


def showing(lab: LabClient, routes: list[Route]) -> set[str]:
    """The paths of a lab whose answer shows the token or the cookie to a browser that has logged in."""
    browser = log_in(lab)
    (session,) = (cookie for cookie in browser.cookies if cookie.name != "_xsrf")
    headers = [("Cookie", f"{session.name}={session.value}; _xsrf={browser.cookies['_xsrf']}")]
    headers += [("Referer", f"{lab.address}/lab"), ("Accept", "text/html")]
    answers = list(sweep(lab, [*routes, ERROR], METHODS, headers))
    assert sum(answer.status == 200 for _, _, answer in answers) > 30, "the cookie opens the lab"
    secrets = [lab.token.encode(), (session.value or "").encode()]
    return {
        route.path()
        for route, _, answer in answers
        if any(secret in answer.body + str(answer.headers).encode() for secret in secrets)
    }


@pytest.mark.attack(
    "After login, send a request with each method to every route, and search the answers for the token and the cookie",
    "No answer contains them, so a script in a page cannot read them.",
)
@pytest.mark.parametrize("interface", ["lab", pytest.param("notebook", marks=pytest.mark.full)])
def test_no_answer_shows_the_token(lab: Project, registered: list[Route], tmp_path: Path, interface: str) -> None:
    if interface == "lab":
        assert showing(lab.client(), registered) == set()
    else:
        with beside(lab, tmp_path, JUPYTER_UI=interface) as twin:
            twin.serve()
            assert showing(twin.client(), routes(twin)) == set()


@pytest.mark.full
@pytest.mark.parametrize("guard", PAGES)
def test_pages_that_show_the_token_are_found(lab: Project, registered: list[Route], tmp_path: Path, guard: str) -> None:
    """The control: without each of the two guards, pages show the token."""
    config = lab.read(f"lab/server/{CONFIG}")
    old, new, pages = PAGES[guard]
    assert config.count(old) == 1
    with beside(lab, tmp_path, with_server(lab, tmp_path, CONFIG, config.replace(old, new))) as twin:
        twin.serve()
        assert pages <= {path.split("/")[1] for path in showing(twin.client(), registered)}
