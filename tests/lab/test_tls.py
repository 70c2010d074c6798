"""TLS with real clients: who connects, what is refused, and renewals that keep notebooks running."""

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from jupyter_kernel_client import KernelWebSocketClient

from tests.lab.test_surviving_server import joined
from tests.support.dashboards import hostile
from tests.support.doctor import doctor, fix, problems
from tests.support.hardening import failing
from tests.support.package_index import authority, signed
from tests.support.project import Project, Render
from tests.support.refusal import answers
from tests.support.server_probes import log_in
from tests.support.updates import conflicts, update
from tests.support.waiting import until
from tools.notebook import execute, text

NAMES = ("127.0.0.1", "localhost", "lab.example.net", "x.dash.example.net", "p8501-x.dashboards.localhost")
OLD = {"minimum": ssl.TLSVersion.TLSv1, "maximum": ssl.TLSVersion.TLSv1_1}


@pytest.fixture(scope="module")
def trusting() -> Iterator[pytest.MonkeyPatch]:
    """The test's own HTTP and websocket clients trust the CA that `trust` names, and no other one."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def trust(patch: pytest.MonkeyPatch, ca: Path) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
        patch.setenv(variable, str(ca))


@pytest.fixture(scope="module")
def encrypted(default_image: None, new_project: Render, trusting: pytest.MonkeyPatch) -> Project:
    """A running lab with a CA of its own. Plain Compose has made the certificate."""
    project = new_project(tls="self-signed")
    project.set_env(JUPYTER_HOSTS='"lab.example.net *.dash.example.net"')
    project.start()
    trust(trusting, project.folder / "certs/ca.pem")
    return project


def place(project: Project) -> tuple[str, int]:
    host, _, port = project.client().address.removeprefix("https://").partition(":")
    return host, int(port)


def version(
    at: tuple[str, int],
    ca: Path | None,
    name: str = "127.0.0.1",
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> str | None:
    """The version of a TLS connection of Python's own client. Raises `ssl.SSLError`."""
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as in Python 3.13
    context.minimum_version, context.maximum_version = minimum, maximum
    if maximum < ssl.TLSVersion.TLSv1_2 and maximum != ssl.TLSVersion.MAXIMUM_SUPPORTED:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(at, timeout=30) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        return tls.version()


# --- clients ------------------------------------------------------------------------------------------
def test_a_client_that_trusts_the_ca_connects(encrypted: Project) -> None:
    """To all names of the lab and of its dashboards, with TLS 1.2 and 1.3. Notebooks run through a websocket."""
    at, ca = place(encrypted), encrypted.folder / "certs/ca.pem"
    assert [version(at, ca, name) for name in NAMES] == ["TLSv1.3"] * len(NAMES)
    assert version(at, ca, maximum=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert encrypted.client().run("print(6 * 7)") == "42\n"
    browser = log_in(encrypted.client())
    cookies = list(browser.cookies)
    assert {cookie.name.partition("-")[0] for cookie in cookies} == {"username", "_xsrf"}
    assert all(cookie.secure for cookie in cookies)


def test_other_clients_are_refused(encrypted: Project) -> None:
    """Without the CA, with another name, with TLS 1.1, and without TLS."""
    at, ca = place(encrypted), encrypted.folder / "certs/ca.pem"
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        version(at, None)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        version(at, ca, "other.example.net")
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|HANDSHAKE_FAILURE"):
        version(at, ca, **OLD)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{at[0]}:{at[1]}/api", timeout=30)


def test_control_an_old_server_accepts_the_old_client(encrypted: Project) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = OLD["minimum"]
    context.set_ciphers("ALL:@SECLEVEL=0")
    certs = encrypted.folder / "certs"
    context.load_cert_chain(certs / "server.pem", certs / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        assert version(listener.getsockname(), certs / "ca.pem", **OLD) == "TLSv1.1"
        thread.join(timeout=30)


def test_the_keys_stay_where_they_belong(encrypted: Project) -> None:
    """The CA's key is in no running container, and no certificate is in the lab, in the image or in git."""
    assert [failing(service, encrypted.container(service)) for service in ("server", "lab", "prepare")] == [set()] * 3
    assert encrypted.shell("ls /run/certs", "server") == "server.key\nserver.pem\n"
    assert (
        encrypted.shell("ls -d /run/certs 2>&1 || true")
        == "ls: cannot access '/run/certs': No such file or directory\n"
    )
    image = encrypted.container()["Image"]
    found = encrypted.run(
        "docker", "run", "--rm", "--network=none", "--entrypoint=ls", image, "-d", "/run/certs", check=False
    )
    assert "No such file" in found.stderr
    encrypted.run("git", "init", "--quiet")
    listed = encrypted.run("git", "ls-files", "--others", "--exclude-standard", "certs").stdout.split()
    shutil.rmtree(encrypted.folder / ".git")
    assert listed == ["certs/.gitignore"]
    assert {path.name for path in (encrypted.folder / "certs").iterdir()} == {
        ".gitignore", "ca.key", "ca.pem", "server.key", "server.pem"
    }  # fmt: skip


def test_a_dashboard_opens(encrypted: Project) -> None:
    """Its host name has the lab's scheme, and its cookie goes through TLS only."""
    client = encrypted.client()
    with hostile(encrypted):
        browser = log_in(client)
        entered = browser.get(f"{client.address}/dashboards/8501", timeout=30, allow_redirects=False)
        location = entered.headers["Location"]
        name, port = location.removeprefix("//").partition("/")[0].split(":")
        assert name.endswith(".dashboards.localhost") and int(port) == place(encrypted)[1]
        path = location.partition(f":{port}")[2]
        answer = requests.get(
            client.address + path, headers={"Host": f"{name}:{port}"}, timeout=30, allow_redirects=False
        )
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
        assert "; Secure" in answer.headers["Set-Cookie"]
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        page = requests.get(client.address, headers={"Host": f"{name}:{port}", "Cookie": cookie}, timeout=30)
        assert page.status_code == 200 and "Start" in page.text


# --- renewals -------------------------------------------------------------------------------------------
def serial(project: Project) -> int:
    """The serial number of the certificate that the server shows."""
    context = ssl.create_default_context(cafile=project.folder / "certs/ca.pem")
    plain = socket.create_connection(place(project), timeout=30)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        return int(tls.getpeercert()["serialNumber"], 16)  # type: ignore[arg-type, index]


def hang_up(page: KernelWebSocketClient) -> None:
    """Without this, the client takes up to 10 s to close a connection with TLS."""
    page.kernel_socket.sock.sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.full
def test_a_renewal_keeps_the_notebooks_and_the_ca(encrypted: Project) -> None:
    before, client = serial(encrypted), encrypted.client()
    lab = encrypted.container()["State"]["StartedAt"]
    kernel = client.request("POST", "kernels", json={"name": "python3"}).json()["id"]
    with joined(client, kernel) as page:
        execute(page, "answer = 42")
        hang_up(page)
    done = encrypted.make("certs")
    assert "is valid for 397 days. Browsers that trust certs/ca.pem trust it too." in done.stdout
    assert "these files changed: certs/server.key certs/server.pem" in done.stderr
    assert f"Address: https://lab.example.net:{place(encrypted)[1]}/lab" in done.stdout
    assert serial(encrypted) != before and encrypted.container()["State"]["StartedAt"] == lab
    with joined(encrypted.client(), kernel) as page:
        assert text(execute(page, "print(answer)")) == "42\n"
        hang_up(page)
    encrypted.client().request("DELETE", f"kernels/{kernel}")


@pytest.mark.full
def test_make_up_restarts_only_the_server_and_only_for_new_files(encrypted: Project) -> None:
    """Also if a file is edited in place. If the new files are wrong, the server keeps the old ones."""
    certs = encrypted.folder / "certs"
    good = {name: (certs / name).read_bytes() for name in ("server.pem", "server.key")}
    started = [encrypted.container(name)["State"]["StartedAt"] for name in ("lab", "server")]
    assert "files changed" not in encrypted.make("up").stderr  # the control
    assert [encrypted.container(name)["State"]["StartedAt"] for name in ("lab", "server")] == started
    assert problems(encrypted) == []

    certs.joinpath("server.key").write_bytes((certs / "ca.key").read_bytes())
    assert {line.partition(",")[0] for line in problems(encrypted)} == {
        "certs/server.key is not the key of the certificate in certs/server.pem. Run 'make certs'.",
        "certs/server.key changed after the server started",
    }
    done = encrypted.make("up", check=False)
    assert done.stderr.splitlines()[-2] == (
        "labdock: certs/server.key is not the key of the certificate in certs/server.pem. Run 'make certs'."
    )
    assert [encrypted.container(name)["State"]["StartedAt"] for name in ("lab", "server")] == started
    assert answers(encrypted.client()) == 200

    for name, content in good.items():
        (certs / name).write_bytes(content + b"\n")
    assert "these files changed: certs/server.key certs/server.pem" in encrypted.make("up").stderr
    assert encrypted.container("lab")["State"]["StartedAt"] == started[0]
    assert encrypted.container("server")["State"]["StartedAt"] != started[1]


# --- faults ---------------------------------------------------------------------------------------------
@pytest.mark.full
def test_a_lab_with_a_wrong_key_does_not_serve(encrypted: Project) -> None:
    """Whoever starts it. The printed command fixes it."""
    encrypted.compose("down")
    key = encrypted.folder / "certs/server.key"
    key.chmod(0o644)
    encrypted.compose("up", "--detach", "--no-build", check=False)
    sentence = "certs/server.key has the mode 644, so other users of this machine can read this key."
    assert f"labdock: {sentence} Run 'chmod 600 certs/server.key'." in encrypted.logs()
    assert not encrypted.container("server")["State"]["Running"]
    encrypted.compose("down")
    encrypted.compose("up", "--detach", "--no-build", "--no-deps", "server", "lab")  # as after an engine restart
    server = encrypted.container("server")["Id"]
    until(lambda: sentence in encrypted.logs(), "the server says why it does not serve")
    assert encrypted.run("docker", "exec", server, "pgrep", "-fc", "jupyter", check=False).stdout == "0\n"
    (line,) = [line for line in problems(encrypted) if line.startswith("certs/")]
    fix(encrypted, line)
    assert answers(encrypted.up()) == 200


# --- your own certificate -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def own(default_image: None, new_project: Render, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    """A project for a certificate of the site's CA, and a folder with this CA and certificate."""
    folder = tmp_path_factory.mktemp("site")
    authority(folder)
    signed(folder, "lab.example.net")
    return new_project(tls="files"), folder


@pytest.mark.full
def test_a_certificate_of_your_own(own: tuple[Project, Path], trusting: pytest.MonkeyPatch) -> None:
    """Without the files, nothing starts. Each message leads to the next step, and at last a client connects."""
    project, site = own
    certs = project.folder / "certs"
    copy = (
        "Copy your certificate with its chain to certs/server.pem, and its key to certs/server.key. Then run 'make up'."
    )

    def refused() -> str:
        done = project.make("up", check=False)
        assert done.returncode and "Address" not in done.stdout
        return done.stderr.splitlines()[-2]

    assert refused() == f"labdock: certs/server.pem is missing. {copy}"
    shutil.copy(site / "lab.example.net.pem", certs / "server.pem")
    assert refused() == f"labdock: certs/server.key is missing. {copy}"
    shutil.copy(site / "lab.example.net.key", certs / "server.key")
    owner = (project.folder / "data").stat()
    (certs / "server.key").chmod(0o600)
    if owner.st_uid != os.getuid():
        assert f"cannot read this file. Run 'sudo chown {owner.st_uid} certs/server.key'." in refused()
        os.chown(certs / "server.key", owner.st_uid, owner.st_gid)
    assert refused().startswith(
        "labdock: certs/server.pem is a certificate for lab.example.net, but people open the lab as localhost,"
    )
    project.set_env(JUPYTER_HOSTS="lab.example.net")
    lab = project.up()
    assert version(place(project), site / "ca.pem", "lab.example.net") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        version(place(project), None, "lab.example.net")
    assert f"Address: https://lab.example.net:{place(project)[1]}/lab" in project.make("url").stdout
    assert "valid for 1 more days" in "".join(doctor(project)["note"])
    assert project.compose("exec", "--no-TTY", "server", "ls", "/run/certs").stdout.split() == [
        "server.key",
        "server.pem",
    ]
    assert lab.address.startswith("https://")


# --- updates --------------------------------------------------------------------------------------------
@pytest.mark.full
def test_an_open_lab_gets_tls_with_the_next_update(fresh_lab: Project, trusting: pytest.MonkeyPatch) -> None:
    """The command that `make up` prints. Files, the token and .env stay."""
    fresh_lab.commit()
    token, settings = fresh_lab.client().token, fresh_lab.read(".env")
    update(fresh_lab, tls="self-signed")
    assert conflicts(fresh_lab) == set()
    fresh_lab.answers["tls"] = "self-signed"
    fresh_lab.make("up")
    trust(trusting, fresh_lab.folder / "certs/ca.pem")
    assert version(place(fresh_lab), fresh_lab.folder / "certs/ca.pem") == "TLSv1.3"
    assert answers(fresh_lab.client()) == 200
    assert (fresh_lab.client().token, fresh_lab.read(".env")) == (token, settings)
    assert "tls" not in fresh_lab.run("git", "status", "--porcelain", "certs").stdout
    trusting.undo()  # pip must trust the site's CA
    fresh_lab.make("test")
