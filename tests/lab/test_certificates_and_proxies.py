"""A site's own certificates, proxy and time zone reach every program of the lab."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.test_ids import own
from tests.support.package_index import HOST, certificates, gateway, private_index, proxy
from tests.support.project import Project
from tests.support.requirements import lacking
from tests.support.variants import beside
from tests.support.waiting import starts
from tools.notebook import CellError

BUNDLE = "/run/lab/ca.pem"
# Trust a server with a certificate of the site. {url} is a text file, {git} a repository.
IN_PYTHON = """
import ssl, urllib.request
print(urllib.request.urlopen("{url}").read().decode())
print(ssl.create_default_context().cert_store_stats()["x509_ca"] > 50)
"""
GIT = "git ls-remote {git}"
# By program: what reads {url} in a lab with more Debian packages.
PACKAGES = "curl wget nodejs default-jre-headless r-base-core"
READERS = {
    "curl": "curl --silent --show-error --fail {url}",
    "wget": "wget --quiet --output-document - {url}",
    "node": "node --eval 'fetch(\"{url}\").then(answer => answer.text()).then(text => process.stdout.write(text))'",
    "R": "Rscript --vanilla -e 'cat(readLines(\"{url}\", warn = FALSE))'",
    "requests": 'python -c \'import requests; print(requests.get("{url}").text, end="")\'',
    # The image has no Java compiler, so this looks at the list of certificates that Java trusts.
    "java": "keytool -list -v -cacerts 2>/dev/null | grep -q 'CN=test CA' && printf hello",
}


@pytest.fixture(scope="module")
def server(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of a new CA: its address, and a file with this CA only."""
    if not shutil.which("openssl"):
        lacking("openssl, which makes the test's certificates, is missing")
    folder, files = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("files")
    ca, certificate = certificates(folder)
    (files / "hello.txt").write_text("hello")
    subprocess.run(["git", "init", "--quiet", "--bare", files / "repository.git"], check=True)
    commit = ("commit-tree", "-m", "first", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
    run = ("git", "-C", files / "repository.git")
    subprocess.run(
        [*run, "hash-object", "-t", "tree", "-w", "--stdin"], check=True, input="", text=True, capture_output=True
    )
    made = subprocess.run([*run, *commit], check=True, text=True, capture_output=True).stdout.strip()
    subprocess.run([*run, "update-ref", "refs/heads/main", made], check=True)
    subprocess.run([*run, "update-server-info"], check=True)
    with private_index(files, gateway(lab), certificate, "") as address:
        yield f"https://{address}/open", ca


def known(project: Project) -> dict[str, Any]:
    """A layer in which the lab resolves the server's name."""
    return {"services": {"lab": {"extra_hosts": [f"{HOST}:{gateway(project)}"]}}}


def reads(project: Project, program: str) -> str:
    return project.compose("exec", "--no-TTY", "lab", "sh", "-c", program, check=False).stdout


@pytest.fixture(scope="module")
def sited(lab: Project, server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A lab with the CA and a time zone. India has no summer time."""
    settings = {"LAB_CA_BUNDLE": str(server[1]), "LAB_TZ": "Asia/Kolkata"}
    with beside(lab, tmp_path_factory.mktemp("site"), known(lab), **settings) as twin:
        twin.serve()
        yield twin


# --- certificates -----------------------------------------------------------------------------------
def trusting(project: Project, url: str) -> dict[str, bool]:
    """Whether a program trusts the server, if `docker compose exec` starts the program."""
    pip = f"pip download --no-deps --dest /tmp --index-url {url}/simple x 2>&1 || true"
    return {
        "git": "refs/heads/main" in reads(project, GIT.format(git=f"{url}/repository.git")),
        "pip": "CERTIFICATE_VERIFY_FAILED" not in reads(project, pip),
        "variables": BUNDLE in project.shell("env"),
    }


def test_programs_trust_the_sites_certificates(sited: Project, server: tuple[str, Path]) -> None:
    url, _ = server
    assert sited.client().run(IN_PYTHON.format(url=f"{url}/hello.txt")) == "hello\nTrue\n"
    assert trusting(sited, url) == dict.fromkeys(("git", "pip", "variables"), True)


def test_the_time_zone_is_the_users(lab: Project, sited: Project) -> None:
    """In notebooks, in commands and in the server's log."""
    assert sited.client().run("import time; print(time.strftime('%Z'))") == "IST\n"
    assert sited.shell("date +%Z") == "IST\n"
    started = sited.shell("date --date=@$(stat -c %Y /run/lab/environment) '+%Y-%m-%d %H:%M'").strip()
    logged = re.findall(r"^\[I (\d\S+ \d\d:\d\d):", sited.logs(), re.MULTILINE)[0]
    assert abs(datetime.fromisoformat(logged) - datetime.fromisoformat(started)) < timedelta(hours=1)
    assert lab.shell("date +%Z") == "UTC\n"  # the control


@pytest.mark.full
def test_control_without_the_setting_no_program_trusts_them(
    lab: Project, server: tuple[str, Path], tmp_path: Path
) -> None:
    with beside(lab, tmp_path, known(lab), LAB_CA_BUNDLE="") as twin:
        twin.serve()
        with pytest.raises(CellError, match="CERTIFICATE_VERIFY_FAILED"):
            twin.client().run(IN_PYTHON.format(url=f"{server[0]}/hello.txt"))
        assert trusting(twin, server[0]) == dict.fromkeys(("git", "pip", "variables"), False)


@pytest.mark.full
def test_a_file_that_the_lab_cannot_read_is_refused(fresh_project: Project) -> None:
    """The build reads the file as the user of this machine, and the lab reads it as LAB_UID."""
    file = fresh_project.folder / "ca.pem"
    file.write_text(Path(fresh_project.config()["secrets"]["ca"]["file"]).read_text())
    file.chmod(0o600)
    fresh_project.environment["LAB_CA_BUNDLE"] = str(file)
    uid = 4321 if file.stat().st_uid != 4321 else 4322
    own(fresh_project, f"{uid}:{uid}")
    done = fresh_project.make("up", check=False)
    assert f"labdock: LAB_CA_BUNDLE names a file that uid {uid} cannot read. Run 'chmod a+r FILE'" in done.stderr
    file.chmod(0o644)
    assert fresh_project.up().run("print(1)") == "1\n"


@pytest.mark.nightly
def test_every_language_trusts_the_sites_certificates(fresh_project: Project, server: tuple[str, Path]) -> None:
    url, ca = server
    machine = fresh_project.config()["secrets"]["ca"]["file"]
    bundle = fresh_project.folder / "ca.pem"
    bundle.write_text(Path(machine).read_text() + ca.read_text())
    fresh_project.environment["LAB_CA_BUNDLE"] = str(bundle)
    more = known(fresh_project)
    more["services"]["lab"]["build"] = {"args": {"DEBIAN_PACKAGES": PACKAGES}}
    (fresh_project.folder / "compose.override.yaml").write_text(yaml.safe_dump(more))
    fresh_project.start()
    fresh_project.client().run("%pip install --quiet requests")
    readers = {name: program.format(url=f"{url}/hello.txt") for name, program in READERS.items()}
    assert {name: reads(fresh_project, program) for name, program in readers.items()} == dict.fromkeys(readers, "hello")
    # The control: without the file, none of them reads anything.
    fresh_project.environment["LAB_CA_BUNDLE"] = machine
    fresh_project.compose("up", "--detach", "--wait")
    fresh_project.client().run("%pip install --quiet requests")
    assert {name: reads(fresh_project, program) for name, program in readers.items()} == dict.fromkeys(readers, "")


# --- proxies ----------------------------------------------------------------------------------------
SERVE = """
import http.server, threading, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(*(urllib.request.urlopen(f"http://{host}:{server.server_port}/").status for host in ("localhost", "127.0.0.1")))
server.shutdown()
"""


def proxies(project: Project) -> dict[str, str]:
    """The proxy settings of a command in the lab."""
    lines = reads(project, "env | grep -i _proxy=").splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.full
@pytest.mark.parametrize("setting", ["none", "setting", "client"])
def test_a_proxy_is_that_of_the_settings_or_of_dockers_client(lab: Project, tmp_path: Path, setting: str) -> None:
    """Without a setting, the lab has the proxy of Docker's client. No request to localhost goes to a proxy."""
    with proxy(gateway(lab)) as (url, seen):
        (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": url}}}))
        given = {"HTTP_PROXY": url if setting == "setting" else "", "HTTPS_PROXY": "", "NO_PROXY": ""}
        given |= {"DOCKER_CONFIG": str(tmp_path)} if setting == "client" else {}
        with beside(lab, tmp_path, **given) as twin:
            twin.serve()
            found = proxies(twin)
            assert found.get("http_proxy") == found.get("HTTP_PROXY") == (None if setting == "none" else url)
            assert "https_proxy" not in found
            assert "200 200" in twin.client().run(SERVE).splitlines()  # among lines of the log
            assert seen == []


@pytest.mark.full
def test_hosts_without_a_proxy_stay_in_either_spelling(lab: Project, tmp_path: Path) -> None:
    """compose.override.yaml sets the upper-case names only, and programs read either."""
    own = {"environment": {"HTTPS_PROXY": "http://proxy.example:1", "NO_PROXY": "minio"}}
    with beside(lab, tmp_path, {"services": {"lab": own}}) as twin:
        twin.serve()
        seen = twin.client().run("import os; print(os.environ['no_proxy'], os.environ['NO_PROXY'])")
        assert seen.split() == ["localhost,127.0.0.1,::1,minio"] * 2


@pytest.mark.full
def test_a_folder_in_place_of_the_certificates_is_named(lab: Project, tmp_path: Path) -> None:
    """The engine makes a folder if the file is missing at a start."""
    with beside(lab, tmp_path, {"services": {"lab": {"volumes": [f"{tmp_path}:/run/ca.pem:ro"]}}}) as twin:
        assert not starts(twin)
        assert "labdock: LAB_CA_BUNDLE names a folder. Remove this folder if it is empty," in twin.logs()


# --- the machine --------------------------------------------------------------------------------------
@pytest.mark.full
def test_the_machine_has_a_name_if_the_user_asks_for_it(lab: Project, tmp_path: Path) -> None:
    """The example of docs/how-to/services.md."""
    named = {"services": {"lab": {"extra_hosts": ["host.docker.internal:host-gateway"]}}}
    ask = "getent hosts host.docker.internal | cut -d ' ' -f 1"
    with beside(lab, tmp_path, named) as twin:
        twin.serve()
        assert twin.shell(ask) == f"{gateway(lab)}\n"
