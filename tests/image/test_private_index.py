"""A private index behind a password, a CA of its own and a proxy: they serve, and the password is seen nowhere."""

import base64
import gzip
import json
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tests.conftest import ROOT, Render, lacking
from tests.support.index import HOST, certificates, gateway, private_index, proxy, wheel
from tests.support.mutants import beside
from tests.support.project import Project
from tests.support.refusal import name_of

OWN, EXTRA, CHANGED = "labdock-test-own", "labdock-test-extra", "labdock-test-changed"  # packages of no other index
SETTINGS = ("PIP_INDEX_URL", "LAB_PIP_INDEX_URL", "LAB_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PASSWORD = secrets.token_hex(12) + "@:/" + secrets.token_hex(4)  # with what has to be escaped in an address


@dataclass(frozen=True)
class Site:
    """A network with an index of its own: `address` is HOST:PORT, `bundle` holds its CA and the machine's."""

    address: str
    bundle: Path

    def url(self, password: str = PASSWORD) -> str:
        return f"https://reader:{quote(password, safe='')}@{self.address}/simple"


@pytest.fixture(scope="module")
def project(new_project: Render, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of which both environments hold one tiny package, and a lock of uv's that no build has seen before."""
    project = new_project()
    files = tmp_path_factory.mktemp("index")
    own = wheel(files, OWN)
    wheel(files, EXTRA)
    for lock in ("requirements.lock", "lab/server.lock"):
        (project.folder / lock).write_text(own)
    project.replace("lab/build.lock", "uv==", f"# {files}\nuv==")
    text = project.read("pyproject.toml")
    start, end = text.index("dependencies = ["), text.index("\n]\n")
    (project.folder / "pyproject.toml").write_text(f'{text[:start]}dependencies = [\n    "{OWN}",{text[end:]}')
    # The tools of the build, uv among them, come from the index too.
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    tools = ("--require-hashes", "-r", ROOT / "template/lab/build.lock", "-d", files)
    subprocess.run([*download, *tools], check=True)
    for tool in files.glob("*.whl"):
        folder = files / "simple" / tool.name.partition("-")[0]
        folder.mkdir()
        tool.rename(folder / tool.name)
    project.environment["INDEX"] = str(files)
    known = {"extra_hosts": [f"{HOST}:{gateway(project)}"]}
    services = {name: {"build": known, **known} for name in ("lab", "packages")}
    (project.folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": services}))
    return project


@pytest.fixture(scope="module")
def site(lab: Project, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The index, with the shell's own settings out of the way, so that .env decides. (`lab` was built with them.)"""
    if not shutil.which("openssl"):
        lacking("openssl, which makes the test's certificates, is missing")
    folder, address = tmp_path_factory.mktemp("tls"), gateway(project)
    ca, certificate = certificates(folder)
    machine = project.config()["secrets"]["ca"]["file"]
    (folder / "bundle.pem").write_text(Path(machine).read_text() + ca.read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        with private_index(Path(project.environment["INDEX"]), address, certificate, PASSWORD) as found:
            yield Site(found, folder / "bundle.pem")


def build(project: Project, *services: str, check: bool = True) -> str:
    """What a build says, with the value of each argument that it shows."""
    done = project.compose("--progress", "plain", "--profile", "packages", "build", *services, check=check)
    return done.stdout + done.stderr


def said(project: Project, target: str, *words: str) -> str:
    """The sentence with which a target is refused."""
    done = project.run("make", "--no-print-directory", target, *words, check=False)
    assert done.returncode != 0
    assert not holds(done.stdout + done.stderr)
    return next(line for line in reversed(done.stderr.splitlines()) if line.startswith("labdock: "))


def holds(what: str | bytes) -> bool:
    """Whether the password stands in it: plain, as in an address, or as a request carries it."""
    data = what.encode() if isinstance(what, str) else what
    words = (
        PASSWORD,
        quote(PASSWORD, safe=""),
        PASSWORD[:24],
        base64.b64encode(f"reader:{PASSWORD}".encode()).decode(),
    )
    return any(word.encode() in data for word in words)


def shown_by(project: Project, image: str) -> list[str]:
    """Where an image holds the password: configuration, history, layers, with files that a later one removes."""
    found = [
        " ".join(command[:2])
        for command in (("image", "inspect", image), ("history", "--no-trunc", image))
        if holds(project.run("docker", *command).stdout)
    ]
    saved = subprocess.run(["docker", "save", image], cwd=project.folder, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(saved)) as archive:
        blobs = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert len(blobs) > 3
    return [*found, *("blob" for blob in blobs if holds(gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob))]


@pytest.fixture(scope="module")
def built(project: Project, site: Site) -> tuple[Project, str]:
    """The project and the log of its build, with packages and uv from the private index alone."""
    project.set_env(PIP_INDEX_URL=site.url(), LAB_CA_BUNDLE=str(site.bundle))
    return project, build(project, "lab", "packages")


@pytest.mark.full
def test_the_password_opens_the_index_and_is_seen_nowhere(built: tuple[Project, str]) -> None:
    project, log = built
    assert f"{OWN}==1.0" in log  # it was installed, and no other index has it
    assert not holds(log)
    for image in ("lab", "packages"):
        assert shown_by(project, f"{name_of(project)}-{image}") == []
    project.compose("--profile", "packages", "create", "--no-build")
    assert len(project.containers()) == 3
    assert not holds(json.dumps(project.containers()))
    assert not holds(project.compose("--profile", "packages", "config").stdout)
    project.compose("--profile", "packages", "down", "--timeout", "2")


@pytest.mark.full
def test_make_add_asks_the_index_too(built: tuple[Project, str]) -> None:
    project, _ = built
    before = [project.read(name) for name in ("pyproject.toml", "requirements.lock")]
    done = project.run("make", "add", f"PKG={EXTRA}")
    assert f"  {EXTRA} (new) -> 1.0" in done.stderr
    assert not holds(done.stdout + done.stderr + project.read("requirements.lock") + project.read("pyproject.toml"))
    for name, text in zip(("pyproject.toml", "requirements.lock"), before, strict=True):
        (project.folder / name).write_text(text)


@pytest.mark.full
def test_a_further_index_is_asked_first(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    before = [project.read(name) for name in ("pyproject.toml", "requirements.lock")]
    elsewhere = wheel(Path(project.environment["INDEX"]) / "more", EXTRA)
    first = f"{site.url()} {site.url().replace('/simple', '/more/simple')}"
    try:
        for setting, expected in ((first, True), (site.url(), False)):
            project.set_env(PIP_INDEX_URL=setting)
            for name, text in zip(("pyproject.toml", "requirements.lock"), before, strict=True):
                (project.folder / name).write_text(text)
            project.run("make", "add", f"PKG={EXTRA}")
            assert (elsewhere.split()[1] in project.read("requirements.lock")) is expected
            build(project, "lab")  # each has its own file of that version, and the lock its hash
    finally:
        project.set_env(PIP_INDEX_URL=site.url())
        for name, text in zip(("pyproject.toml", "requirements.lock"), before, strict=True):
            (project.folder / name).write_text(text)


@pytest.mark.full
def test_a_changed_byte_in_a_wheel_is_refused(built: tuple[Project, str]) -> None:
    project, _ = built
    before, index = project.read("requirements.lock"), Path(project.environment["INDEX"])
    (project.folder / "requirements.lock").write_text(before + wheel(index, CHANGED))
    (file,) = index.glob(f"simple/{CHANGED}/*.whl")
    whole = file.read_bytes()
    file.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:])  # a date, which nobody reads
    try:
        assert "a file differs from what was locked" in said(project, "up")
        file.write_bytes(whole)
        assert f"{CHANGED}==1.0" in build(project, "lab")
    finally:
        (project.folder / "requirements.lock").write_text(before)


@pytest.mark.full
def test_a_password_that_is_an_argument_is_found(built: tuple[Project, str]) -> None:
    """The control: as an argument it stands in the history, in a file it stays in a layer."""
    project, _ = built
    image = f"{name_of(project)}-packages"
    leaky = f"FROM {image}\nARG PIP_INDEX_URL\nUSER root\nRUN echo $PIP_INDEX_URL >/trace\nRUN rm /trace\n"
    (project.folder / "Leaky").write_text(leaky)
    url = project.config()["secrets"]["index"]["environment"]
    value = next(line.partition("=")[2] for line in reversed(project.read(".env").splitlines()) if line.startswith(url))
    project.run(
        "docker", "build", "--quiet", "--build-arg", f"{url}={value}", "-f", "Leaky", "-t", f"{image}:leaky", "."
    )
    found = shown_by(project, f"{image}:leaky")
    project.run("docker", "image", "rm", f"{image}:leaky")
    assert "history --no-trunc" in found and found.count("blob") >= 2  # the configuration, and the layer


@pytest.mark.full
def test_a_wrong_password_is_one_sentence(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    refusal = f"refuses your name or password (PIP_INDEX_URL is 'https://{site.address}/simple'): mend it in .env."
    project.set_env(PIP_INDEX_URL=site.url("wrong"))
    try:
        assert said(project, "add", f"PKG={EXTRA}") == f"labdock: the package index {refusal}"
        for lock in ("lab/build.lock", "requirements.lock"):  # pip asks for the one, uv for the other
            text = project.read(lock)
            (project.folder / lock).write_text(f"# {site.bundle} again\n{text}")
            assert said(project, "up") == f"labdock: the image was not built: the package index {refusal}"
            (project.folder / lock).write_text(text)
    finally:
        project.set_env(PIP_INDEX_URL=site.url())


@pytest.mark.full
def test_without_its_ca_the_index_is_not_trusted(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    text = project.read("lab/build.lock")
    project.set_env(LAB_CA_BUNDLE="")
    try:
        assert "LAB_CA_BUNDLE" in said(project, "add", f"PKG={EXTRA}")
        (project.folder / "lab/build.lock").write_text(f"# {site.bundle} without\n{text}")
        sentence = said(project, "add", f"PKG={EXTRA}")
        assert "the certificate of the package index is not trusted (LAB_CA_BUNDLE adds 0): " in sentence
    finally:
        (project.folder / "lab/build.lock").write_text(text)
        project.set_env(LAB_CA_BUNDLE=str(site.bundle))


@pytest.mark.full
def test_a_proxy_is_used(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    text = project.read("requirements.lock")
    with proxy(gateway(project)) as (url, seen):
        project.set_env(HTTPS_PROXY=url)
        project.replace("lab/build.lock", "uv==", f"# {url}\nuv==")
        log = build(project, "packages", "lab")
        assert f"{OWN}==1.0" in log
        asked = len(seen)
        assert asked >= 2  # uv's lock by pip, the environments by uv
        project.run("make", "add", f"PKG={EXTRA}")
        assert len(seen) > asked
        assert {*seen} == {site.address}
    # The control: where the proxy is gone, nothing goes another way.
    assert "the package index cannot be reached" in said(project, "lock")
    project.set_env(HTTPS_PROXY="")
    (project.folder / "requirements.lock").write_text(text)


@pytest.mark.full
def test_pip_in_the_lab_has_an_index_of_its_own(lab: Project, site: Site, tmp_path: Path) -> None:
    index = f"https://{site.address}/open/simple"
    settings = {"LAB_PIP_INDEX_URL": index, "PIP_INDEX_URL": site.url(), "LAB_CA_BUNDLE": str(site.bundle)}
    known = {"services": {"lab": {"extra_hosts": [f"{HOST}:{gateway(lab)}"]}}}
    with beside(lab, tmp_path, known, **settings) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        assert "site/labdock_test_own.py" in twin.lab().run(
            f"%pip install --quiet {OWN}\nimport labdock_test_own; print(labdock_test_own.__file__)"
        )
        assert not holds(twin.shell("env; cat /proc/*/environ 2>/dev/null || true"))
        assert not holds(json.dumps(twin.containers()))
