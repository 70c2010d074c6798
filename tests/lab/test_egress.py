"""The proxy of a lab with `network: allowlist`: everyday programs, changes of the list, and faults."""

import gzip
import json
import re
import shutil
import subprocess
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.attack.test_walls import allowlist, outside, started  # noqa: F401 (fixtures)
from tests.support.doctor import problems
from tests.support.project import Project, Render
from tests.support.r_packages import repository
from tests.support.sentinel import Sentinel
from tests.support.variants import beside
from tests.support.waiting import until
from tools.notebook import execute, text

LIST = "egress/allowlist.txt"


@pytest.fixture
def listed(allowlist: Project) -> Iterator[Path]:  # noqa: F811
    """The file with the domains. It gets its old text back after the test."""
    file = allowlist.folder / LIST
    before = file.read_text()
    yield file
    file.write_text(before)
    until(lambda: checked(allowlist) == "ok", "the proxy reads the list again")


@pytest.fixture
def fresh_project_with_allowlist(default_image: None, new_project: Render) -> Iterator[Project]:
    project = new_project(network="allowlist")
    (project.folder / LIST).write_text("listed.example\n")
    project.up()
    yield project
    project.down()


def checked(lab: Project) -> str:
    """What the proxy says about itself."""
    return lab.shell("/opt/jupyter/bin/python -IS /opt/labdock/egress/check.py", "egress").strip()


def curl(lab: Project, url: str) -> str:
    """What a terminal in the lab gets from an address."""
    return lab.shell(f"curl --silent --show-error --max-time 20 {url} 2>&1 || true")


def recorded(lab: Project) -> list[dict[str, Any]]:
    """The lines of the record."""
    files = sorted((lab.folder / "egress/log").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# --- everyday programs --------------------------------------------------------------------------------
def wheel() -> bytes:
    """A package with the module `remote`."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("remote.py", "answer = 42\n")
        archive.writestr("remote-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: remote\nVersion: 1.0\n")
        archive.writestr("remote-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("remote-1.0.dist-info/RECORD", "")
    return made.getvalue()


def test_everyday_programs_need_no_setting(allowlist: Project, outside: Sentinel, tmp_path: Path) -> None:  # noqa: F811
    outside.pages |= {
        "/simple/remote/": b'<a href="/remote-1.0-py3-none-any.whl">remote-1.0-py3-none-any.whl</a>',
        "/remote-1.0-py3-none-any.whl": wheel(),
        "/table.csv": b"a,b\n1,2\n",
    }
    repository = tmp_path / "repository"
    commands = ("git init --quiet repository", "git -C repository commit --quiet --allow-empty --message one")
    for command in (*commands, "git -C repository update-server-info"):
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    outside.pages |= {
        f"/repository.git/{file.relative_to(repository / '.git')}": file.read_bytes()
        for file in (repository / ".git").rglob("*")
        if file.is_file()
    }
    outside.pages["/repository.git/info/refs?service=git-upload-pack"] = outside.pages["/repository.git/info/refs"]
    code = """
%pip install --quiet --index-url https://listed.example/simple remote
import remote, pandas, subprocess
print(remote.answer, pandas.read_csv("https://listed.example/table.csv").b[0])
!git clone --quiet https://listed.example/repository.git /tmp/clone && git -C /tmp/clone log --format=%s
"""
    with allowlist.client().kernel() as kernel:
        assert re.search(r"42 2\s+one\s*$", text(execute(kernel, code)))


R = """
text <- "https://listed.example/table.csv"
download.file(text, "table.csv", quiet = TRUE)
install.packages("tiny.R", repos = "https://listed.example/cran", quiet = TRUE)
cat(read.csv("table.csv")$b, read.csv(text)$b, read.csv("http://listed.example/table.csv")$b, tiny.R::two() + 40)
"""
R_REFUSED = """
install.packages("dplyr", repos = "https://unlisted.example/cran")
tryCatch(read.csv("http://unlisted.example/table.csv"), error = function(error) cat(conditionMessage(error)))
"""


@pytest.mark.nightly
def test_downloads_of_r_need_no_setting(new_project: Render, outside: Sentinel) -> None:  # noqa: F811
    """The control: a domain that is not in the list is refused."""
    lab = started(new_project, outside, network="allowlist", environment="r")
    folder = Path(repository(lab).removeprefix("file:///home/jovyan/data"), "src/contrib")
    packages = lab.folder / "data" / folder.relative_to("/")
    outside.pages |= {
        "/table.csv": b"a,b\n1,2\n",
        "/cran/src/contrib/PACKAGES.gz": gzip.compress((packages / "PACKAGES").read_bytes()),
        "/cran/src/contrib/tiny.R_1.0.tar.gz": (packages / "tiny.R_1.0.tar.gz").read_bytes(),
    }
    with lab.client().kernel(name="ir") as kernel:
        assert text(execute(kernel, R)).endswith("2 2 2 42")
        outside.requests.clear()
        said = text(execute(kernel, R_REFUSED))
        assert (
            "labdock: the proxy of the lab reaches no repository of R packages, so R did not install 'dplyr'. " in said
        )
        assert "Add the repository's domain to egress/allowlist.txt" in said and "403 Forbidden" in said
        assert outside.requests == []
    lab.down()


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request; urllib.request.urlopen('https://files.unlisted.example/')",
        "import pandas; pandas.read_csv('https://files.unlisted.example/table.csv')",
        "import urllib.request; urllib.request.urlopen('http://files.unlisted.example/')",
        "!pip install --index-url https://files.unlisted.example/simple --retries 1 nothing",
        "!wget https://files.unlisted.example/",
        "!curl http://files.unlisted.example/",
    ],
    ids=["urllib", "pandas", "http", "pip", "wget", "curl"],
)
def test_an_error_names_the_file(allowlist: Project, code: str) -> None:  # noqa: F811
    caught = f"get_ipython().run_cell({code!r}); None" if code[0] != "!" else code
    with allowlist.client().kernel() as kernel:
        shown = "".join(map(str, execute(kernel, caught)))
    assert "files.unlisted.example is not in egress/allowlist.txt" in shown


def test_each_request_is_recorded(allowlist: Project, outside: Sentinel) -> None:  # noqa: F811
    curl(allowlist, "http://listed.example/recorded")
    curl(allowlist, "https://recorded.unlisted.example/")
    one, two = recorded(allowlist)[-2:]
    assert (one["host"], one["port"], one["verdict"]) == ("listed.example", 80, "allowed")
    assert (two["host"], two["port"]) == ("recorded.unlisted.example", 443) and two["verdict"].startswith("refused: ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", one["time"])
    assert all(file.stat().st_mode & 0o77 == 0 for file in (allowlist.folder / "egress/log").glob("*.jsonl"))


# --- the list -----------------------------------------------------------------------------------------
def test_a_change_of_the_list_takes_effect_without_a_command(allowlist: Project, listed: Path) -> None:  # noqa: F811
    """A connection that is open ends when its domain leaves the list. The control: others stay open."""
    listen = """
import socket, os
def tunnel(host):
    connection = socket.create_connection(("egress", 3128), timeout=30)
    connection.sendall(f"CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}:443\\r\\n\\r\\n".encode())
    assert b" 200 " in connection.recv(1000)
    import ssl
    secure = ssl._create_unverified_context().wrap_socket(connection, server_hostname=host)
    return secure
def alive(connection):
    try:
        connection.sendall(b"GET /alive HTTP/1.1\\r\\n\\r\\n")
        return b"arrived" in connection.recv(1000)
    except OSError:
        return False
kept, lost = tunnel("listed.example"), tunnel("deep.down.wide.example")
print(alive(kept), alive(lost))
"""
    with allowlist.client().kernel() as kernel:
        assert text(execute(kernel, listen)) == "True True\n"
        listed.write_text("listed.example\nnew.wide.example\n")
        until(lambda: text(execute(kernel, "print(alive(lost))")) == "False\n", "the connection ends")
        # In Python 3.13, the error of a TLS connection also shows at the next use of another one.
        until(lambda: text(execute(kernel, "print(alive(kept))")) == "True\n", "the other connection is open")
    assert "deep.down.wide.example is not in" in curl(allowlist, "http://deep.down.wide.example/")


def test_a_wrong_line_closes_everything_and_is_named(allowlist: Project, listed: Path) -> None:  # noqa: F811
    assert curl(allowlist, "http://listed.example/") == "arrived"
    listed.write_text("# comment\nlisted.example\nhttps://other.example/path\n")
    until(lambda: "line 3" in checked(allowlist), "the proxy reads the list")
    assert "line 3: 'https://other.example/path' is not a domain" in curl(allowlist, "http://listed.example/")
    (problem,) = [line for line in problems(allowlist) if "allowlist" in line]
    assert "line 3" in problem and "Until then, notebooks reach no domain" in problem
    assert "labdock: egress/allowlist.txt, line 3" in allowlist.make("up").stderr


def test_the_lab_cannot_change_the_list(allowlist: Project) -> None:  # noqa: F811
    assert "egress" not in str([mount["Destination"] for mount in allowlist.container("lab")["Mounts"]])
    mounts = {mount["Destination"]: mount["RW"] for mount in allowlist.container("egress")["Mounts"]}
    assert mounts["/run/egress"] is False


# --- when something is wrong --------------------------------------------------------------------------
def test_without_a_record_nothing_leaves(allowlist: Project, outside: Sentinel) -> None:  # noqa: F811
    log = allowlist.folder / "egress/log"
    assert curl(allowlist, "http://listed.example/") == "arrived"
    owner = log.stat()
    for file in [log, *log.glob("*.jsonl")]:
        subprocess.run(["chown", "0:0", file], check=True)
    log.chmod(0o755)
    try:
        outside.requests.clear()
        assert "egress/log cannot be written: Permission denied" in curl(allowlist, "http://listed.example/unseen")
        assert outside.requests == []
        assert any("egress/log is full, or uid" in line for line in problems(allowlist))
    finally:
        subprocess.run(["chown", "--recursive", f"{owner.st_uid}:{owner.st_gid}", log], check=True)
    assert curl(allowlist, "http://listed.example/") == "arrived"


@pytest.mark.nightly
def test_with_a_full_disk_nothing_leaves(allowlist: Project, outside: Sentinel, tmp_path: Path) -> None:  # noqa: F811
    """The control: before it is full and after it has space again, requests arrive."""
    disk = {"type": "tmpfs", "target": "/var/log/egress", "tmpfs": {"size": "256k", "mode": 0o1777}}
    (tmp_path / "disk.yaml").write_text(json.dumps({"services": {"egress": {"volumes": [disk]}}}))
    files = f"compose.yaml:compose.override.yaml:{tmp_path}/disk.yaml"
    lab = Project(allowlist.folder, allowlist.answers, {**allowlist.environment, "COMPOSE_FILE": files})
    start = ("up", "--detach", "--wait", "--no-build", "--no-deps", "egress")
    lab.compose("rm", "--stop", "--force", "egress")  # Compose would give the new container the old one's folder
    lab.compose(*start)
    try:
        assert curl(lab, "http://listed.example/") == "arrived"
        lab.shell("! head --bytes=1M /dev/zero >/var/log/egress/other 2>/dev/null", "egress")  # more than there is room
        full = "egress/log cannot be written: No space left on device"
        until(lambda: full in curl(lab, "http://listed.example/"), "the last block of the log is full too")
        outside.requests.clear()
        assert full in curl(lab, "http://listed.example/unseen")
        assert "CONNECT tunnel failed, response 503" in curl(lab, "https://listed.example/unseen")
        assert outside.requests == []
        assert any("egress/log is full, or uid" in line for line in problems(lab))
        lab.shell("rm /var/log/egress/other", "egress")
        assert curl(lab, "http://listed.example/") == "arrived"
    finally:
        allowlist.compose("rm", "--stop", "--force", "egress")
        allowlist.compose(*start)


@pytest.mark.full
def test_an_old_list_is_named(fresh_project_with_allowlist: Project) -> None:
    """The folder was replaced, as a program for backups does, and the proxy still sees the old one."""
    lab = fresh_project_with_allowlist
    assert not [line for line in problems(lab) if "allowlist" in line]
    (lab.folder / "egress").rename(lab.folder / "egress.old")
    shutil.copytree(lab.folder / "egress.old", lab.folder / "egress")
    (lab.folder / LIST).write_text("# nothing\n")
    (problem,) = [line for line in problems(lab) if "allowlist" in line]
    command = re.search(r"'(docker compose [^']+)'", problem)
    assert command and "does not use the current" in problem
    lab.run("sh", "-c", f"chown -R 1000 egress && {command[1]} --wait")
    assert not [line for line in problems(lab) if "allowlist" in line]


def test_without_the_proxy_nothing_leaves(allowlist: Project, outside: Sentinel) -> None:  # noqa: F811
    allowlist.compose("kill", "egress")
    try:
        outside.requests.clear()
        assert "egress" in curl(allowlist, "http://listed.example/")
        assert outside.requests == []
        (problem,) = [line for line in problems(allowlist) if "egress" in line]
        assert "the service egress does not answer" in problem and "docker compose up --detach egress" in problem
    finally:
        allowlist.compose("up", "--detach", "--wait", "--no-build", "egress")
    assert curl(allowlist, "http://listed.example/") == "arrived"


# --- the proxy of your site ---------------------------------------------------------------------------
@pytest.mark.full
def test_requests_go_through_the_proxy_of_your_site(allowlist: Project, outside: Sentinel, tmp_path: Path) -> None:  # noqa: F811
    """With its password, and only for domains in the list. NO_PROXY is for this proxy too."""
    outside.pages["http://listed.example/x"] = b"the site's proxy was asked"
    proxy = f"http://ada:pass%40word@{outside.listed}:8080"
    layer = {"services": {"egress": {"dns": outside.unlisted, "image": allowlist.container()["Image"]}}}
    environment = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "deep.down.wide.example"}
    with beside(allowlist, tmp_path, layer, **environment) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build", "egress", "lab", "server")
        outside.requests.clear()
        outside.logins.clear()
        assert curl(twin, "http://listed.example/x") == "the site's proxy was asked"
        assert outside.requests == ["listed.example GET http://listed.example/x HTTP/1.1"]
        assert curl(twin, "http://deep.down.wide.example/") == "arrived"
        assert outside.requests[1:] == ["deep.down.wide.example GET / HTTP/1.1"]
        assert "is not in" in curl(twin, "http://unlisted.example/") and len(outside.requests) == 2
        assert curl(twin, "https://listed.example/") == "arrived"
        assert outside.requests[2:] == [
            "listed.example:443 CONNECT listed.example:443 HTTP/1.1",
            "listed.example GET / HTTP/1.1",
        ]
        login = b64encode(b"ada:pass@word").decode()
        assert outside.logins == [login, "", login, ""]
        shown = twin.shell("env")
        assert "pass" not in shown and str(outside.listed) not in shown
