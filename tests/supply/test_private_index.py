"""A private package index with a password, its own CA and a proxy: all work, and nothing shows the password."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.package_index import (
    HOST,
    PASSWORD,
    Site,
    certificates,
    gateway,
    holds,
    private_index,
    proxy,
    shown_by,
    source,
    tiny,
    wheel,
)
from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tests.support.variants import beside

# Packages that no other index has.
OWN, EXTRA, CHANGED, DAMAGED, SOURCE = (f"labdock-test-{n}" for n in ("own", "extra", "changed", "damaged", "source"))
SETTINGS = ("PIP_INDEX_URL", "LAB_PIP_INDEX_URL", "LAB_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(scope="module")
def project(new_project: Render, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with tiny packages only. They are in a folder, `INDEX`."""
    project = new_project()
    files = tmp_path_factory.mktemp("index")
    tiny(project, files, OWN)
    wheel(files, EXTRA)
    project.environment["INDEX"] = str(files)
    return project


@pytest.fixture(scope="module")
def site(lab: Project, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The index. The settings in the shell are removed, so that .env decides. (`lab` was built with them.)"""
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


def build(project: Project, *words: str, check: bool = True) -> str:
    """The output of a build, in which build arguments show their values."""
    done = project.compose("--progress", "plain", "--profile", "packages", "build", *words, check=check)
    return done.stdout + done.stderr


def said(project: Project, target: str, *words: str) -> str:
    """The error of a make target that fails."""
    done = project.run("make", "--no-print-directory", target, *words, check=False)
    assert done.returncode != 0
    assert not holds(done.stdout + done.stderr)
    return next(line for line in reversed(done.stderr.splitlines()) if line.startswith("labdock: "))


@pytest.fixture(scope="module")
def built(project: Project, site: Site) -> tuple[Project, str]:
    """The project and the log of its build. All packages, uv included, come from the private index."""
    project.set_env(PIP_INDEX_URL=site.url(), LAB_CA_BUNDLE=str(site.bundle))
    return project, build(project, "lab", "packages")


@pytest.mark.nightly
def test_the_password_opens_the_index_and_is_seen_nowhere(built: tuple[Project, str]) -> None:
    project, log = built
    assert f"{OWN}==1.0" in log  # it was installed, and no other index has it
    assert not holds(log)
    for image in ("lab", "packages"):
        assert shown_by(project, f"{project.compose_name()}-{image}") == []
    project.compose("--profile", "packages", "create", "--no-build")
    assert len(project.containers()) == 3
    assert not holds(json.dumps(project.containers()))
    assert not holds(project.compose("--profile", "packages", "config").stdout)
    project.compose("--profile", "packages", "down", "--timeout", "2")


@pytest.mark.nightly
def test_make_add_asks_the_index_too(built: tuple[Project, str]) -> None:
    project, _ = built
    before = [project.read(name) for name in ("pyproject.toml", "requirements.lock")]
    done = project.run("make", "add", f"PKG={EXTRA}")
    assert f"  {EXTRA} (new) -> 1.0" in done.stderr
    assert not holds(done.stdout + done.stderr + project.read("requirements.lock") + project.read("pyproject.toml"))
    for name, text in zip(("pyproject.toml", "requirements.lock"), before, strict=True):
        (project.folder / name).write_text(text)


@pytest.mark.nightly
def test_a_package_from_an_address_has_a_hash_in_the_lock(built: tuple[Project, str], site: Site) -> None:
    """The build takes the file from its address. The control: it refuses a file with another hash."""
    project, _ = built
    before = {name: project.read(name) for name in ("pyproject.toml", "requirements.lock")}
    index = Path(project.environment["INDEX"])
    line = wheel(index / "elsewhere", EXTRA)
    (file,) = index.glob(f"elsewhere/simple/{EXTRA}/*.whl")
    address = f"https://{site.address}/open/{file.relative_to(index)}"
    try:
        project.run("make", "add", f"PKG={EXTRA} @ {address}")
        assert f'"{EXTRA} @ {address}"' in project.read("pyproject.toml")
        assert f"{EXTRA} @ {address} \\\n    {line.split()[1]}" in project.read("requirements.lock")
        assert f"{EXTRA}==1.0 (from {address})" in build(project, "lab")
        project.replace("requirements.lock", line.split()[1], f"--hash=sha256:{'0' * 64}")
        assert "does not match its hash in the lock" in build(project, "lab", check=False)
        missing = address.replace("-1.0-", "-2.0-")
        refused = said(project, "add", f"PKG={EXTRA} @ {missing}")
        assert refused.startswith(f"labdock: {missing} answers '404 File not found'. Check this address, ")
    finally:
        for name, text in before.items():
            (project.folder / name).write_text(text)


@pytest.mark.nightly
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
            build(project, "lab")  # each index has another file of that version, and the lock has its hash
    finally:
        project.set_env(PIP_INDEX_URL=site.url())
        for name, text in zip(("pyproject.toml", "requirements.lock"), before, strict=True):
            (project.folder / name).write_text(text)


@pytest.mark.nightly
def test_a_changed_byte_in_a_wheel_is_refused(built: tuple[Project, str]) -> None:
    project, _ = built
    before, index = project.read("requirements.lock"), Path(project.environment["INDEX"])
    (project.folder / "requirements.lock").write_text(before + wheel(index, CHANGED))
    (file,) = index.glob(f"simple/{CHANGED}/*.whl")
    whole = file.read_bytes()
    file.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:])  # a part of a date, which no tool reads
    try:
        assert "a downloaded file does not match its hash in the lock" in said(project, "up")
        file.write_bytes(whole)
        assert f"{CHANGED}==1.0" in build(project, "lab")
    finally:
        (project.folder / "requirements.lock").write_text(before)


@pytest.mark.nightly
def test_a_file_that_is_no_archive_is_named(built: tuple[Project, str]) -> None:
    """The hash in the lock is right. The error is the same for uv in the build, uv in `make add`, and pip."""
    project, _ = built
    locks, index = ("requirements.lock", "lab/locks/build.lock"), Path(project.environment["INDEX"])
    before = {name: project.read(name) for name in (*locks, "pyproject.toml")}
    wheel(index, DAMAGED)
    (file,) = index.glob(f"simple/{DAMAGED}/*.whl")
    file.write_bytes(b"<html>Sorry, not today.</html>")
    hashed = f"{DAMAGED}==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
    refusal = (
        "the package index has a damaged file ({}). "
        "Try again. If the same error comes again, do not trust the package index."
    )
    try:
        assert said(project, "add", f"PKG={DAMAGED}") == f"labdock: {refusal.format(file.name)}"
        for lock, named in zip(locks, (file.name, DAMAGED), strict=True):
            (project.folder / lock).write_text(before[lock] + hashed)
            assert said(project, "up") == f"labdock: the image was not built: {refusal.format(named)}"
            (project.folder / lock).write_text(before[lock])
    finally:
        for name, text in before.items():
            (project.folder / name).write_text(text)


@pytest.mark.nightly
def test_no_message_shows_a_further_indexs_password(built: tuple[Project, str], site: Site) -> None:
    """uv prints a malformed address as it is. The negative control lets that through."""
    project, _ = built
    script, lock = (project.read(name) for name in ("lab/build/run_and_explain.py", "requirements.lock"))
    unescaped = f"{site.url()} https://reader:{PASSWORD}@{site.address}/more/simple"
    try:
        for mask, shown in ((script, False), (script.replace('re.sub(r"//\\S*@", "//", text)', "text"), True)):
            assert (mask != script) is shown
            (project.folder / "lab/build/run_and_explain.py").write_text(mask)
            project.set_env(PIP_INDEX_URL=site.url())
            build(project, "lab")
            project.set_env(PIP_INDEX_URL=unescaped)
            (project.folder / "requirements.lock").write_text(f"# {shown}\n{lock}")
            log = build(project, "lab", check=False)
            assert "for '--index <INDEX>': " in log
            assert holds(log) is shown
        for target in ("add", "up"):
            assert f"PIP_INDEX_URL is '...@{site.address}/more/simple'" in said(project, target, f"PKG={EXTRA}")
        # A correct address at which no server answers.
        project.set_env(PIP_INDEX_URL=f"{site.url()} {site.url().replace(site.address, '127.0.0.1:9')}")
        both = f"cannot be reached (PIP_INDEX_URL is 'https://{site.address}/simple https://127.0.0.1:9/simple')"
        (project.folder / "lab/build/run_and_explain.py").write_text(script)
        assert both in said(project, "add", f"PKG={EXTRA}")
        (project.folder / "requirements.lock").write_text(f"# again\n{lock}")
        assert both in said(project, "up")
    finally:
        project.set_env(PIP_INDEX_URL=site.url())
        (project.folder / "lab/build/run_and_explain.py").write_text(script)
        (project.folder / "requirements.lock").write_text(lock)


@pytest.mark.nightly
def test_a_bundle_holds_what_builds_a_package_that_comes_as_source(built: tuple[Project, str], tmp_path: Path) -> None:
    """Its build backend is not setuptools. The negative control: without the backend, the build fails."""
    project, _ = built
    before = project.read("requirements.lock")
    (project.folder / "requirements.lock").write_text(before + source(Path(project.environment["INDEX"]), SOURCE))
    try:
        project.make("bundle")
    finally:
        (project.folder / "requirements.lock").write_text(before)
    with tarfile.open(project.folder / "iris-study-bundle.tar") as archive:
        archive.extractall(tmp_path, filter="tar")
    there = Project(tmp_path / "iris-study", project.answers)
    there.set_env(LAB_NAME=f"{project.compose_name()}-there", PIP_INDEX_URL="https://127.0.0.1:9/simple")
    cache = f"{project.compose_name()}-there"  # each build gets an empty cache, since uv keeps what it built
    try:
        assert f"{SOURCE}==1.0" in build(there, f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={cache}-1", "lab")
        (backend,) = there.folder.glob("lab/bundle/wheels/*_backend-*.whl")
        backend.unlink()
        log = build(there, f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={cache}-2", "lab", check=False)
        assert "the bundle in lab/bundle lacks a file that this step needs" in log
    finally:
        there.down("--rmi", "all")
        mine = ("--filter=type=exec.cachemount", f"--filter=description~={cache}")
        there.run("docker", "buildx", "prune", "--force", *mine, check=False)


@pytest.mark.nightly
def test_a_password_that_is_an_argument_is_found(built: tuple[Project, str]) -> None:
    """The negative control: an argument is in the image's history, and a deleted file is in a layer."""
    project, _ = built
    image = f"{project.compose_name()}-packages"
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


@pytest.mark.nightly
def test_a_wrong_password_is_one_sentence(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    refusal = f"refuses your credentials (PIP_INDEX_URL is 'https://{site.address}/simple'). Correct them in .env."
    project.set_env(PIP_INDEX_URL=site.url("wrong"))
    try:
        # If the image `packages` must be built first, its build fails with the same error.
        assert said(project, "add", f"PKG={EXTRA}").endswith(f"the package index {refusal}")
        for lock in ("lab/locks/build.lock", "requirements.lock"):  # pip installs the first, uv the second
            text = project.read(lock)
            (project.folder / lock).write_text(f"# {site.bundle} again\n{text}")
            assert said(project, "up") == f"labdock: the image was not built: the package index {refusal}"
            (project.folder / lock).write_text(text)
    finally:
        project.set_env(PIP_INDEX_URL=site.url())


@pytest.mark.nightly
def test_without_its_ca_the_index_is_not_trusted(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    text = project.read("lab/locks/build.lock")
    project.set_env(LAB_CA_BUNDLE="")
    try:
        assert "LAB_CA_BUNDLE" in said(project, "add", f"PKG={EXTRA}")
        (project.folder / "lab/locks/build.lock").write_text(f"# {site.bundle} without\n{text}")
        sentence = said(project, "add", f"PKG={EXTRA}")
        assert "the certificate of the package index is not trusted (LAB_CA_BUNDLE adds 0 certificates). " in sentence
    finally:
        (project.folder / "lab/locks/build.lock").write_text(text)
        project.set_env(LAB_CA_BUNDLE=str(site.bundle))


@pytest.mark.nightly
def test_a_proxy_is_used(built: tuple[Project, str], site: Site) -> None:
    project, _ = built
    text = project.read("requirements.lock")
    with proxy(gateway(project)) as (url, seen):
        project.set_env(HTTPS_PROXY=url)
        project.replace("lab/locks/build.lock", "uv==", f"# {url}\nuv==")
        log = build(project, "packages", "lab")
        assert f"{OWN}==1.0" in log
        asked = len(seen)
        assert asked >= 2  # by pip for uv, and by uv for the environments
        project.run("make", "add", f"PKG={EXTRA}")
        assert len(seen) > asked
        assert {*seen} == {site.address}
    # The negative control: without the proxy, nothing reaches the index.
    assert "the package index cannot be reached" in said(project, "lock")
    project.set_env(HTTPS_PROXY="")
    (project.folder / "requirements.lock").write_text(text)


@pytest.mark.nightly
def test_pip_in_the_lab_has_an_index_of_its_own(lab: Project, site: Site, tmp_path: Path) -> None:
    index = f"https://{site.address}/open/simple"
    settings = {"LAB_PIP_INDEX_URL": index, "PIP_INDEX_URL": site.url(), "LAB_CA_BUNDLE": str(site.bundle)}
    known = {"services": {"lab": {"extra_hosts": [f"{HOST}:{gateway(lab)}"]}}}
    with beside(lab, tmp_path, known, **settings) as twin:
        twin.serve()
        assert "site/labdock_test_own.py" in twin.client().run(
            f"%pip install --quiet {OWN}\nimport labdock_test_own; print(labdock_test_own.__file__)"
        )
        assert not holds(twin.shell("env; cat /proc/*/environ 2>/dev/null || true"))
        assert not holds(json.dumps(twin.containers()))
