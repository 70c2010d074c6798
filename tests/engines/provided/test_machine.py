"""The machine's mirrors, package index, certificates and proxies, read from its configuration."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import machine
from engine.common import run

ONE_LINE = """
deb https://vendor.example/linux {0} stable
deb http://mirror.example/debian {0} main
deb-src http://mirror.example/debian {0} main
deb http://mirror.example/debian {0}-updates main
deb [arch=amd64] http://security.example/debian-security/ {0}-security main contrib
"""
DEB822 = """
Types: deb
URIs: https://vendor.example/linux
Suites: {0}
Components: stable

# the machine's own
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: {0} {0}-updates
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: {0}-security
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: {0}-security
Components: main contrib
"""
FOUND = {
    "DEBIAN_MIRROR": "http://mirror.example/debian",
    "DEBIAN_SECURITY_MIRROR": "http://security.example/debian-security",
}


@pytest.fixture
def apt_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Give apt only these sources."""
    if not shutil.which("apt-get"):
        pytest.skip("apt-get is not installed")
    parts = tmp_path / "parts"
    parts.mkdir()
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::SourceList "/dev/null"; Dir::Etc::SourceParts "{parts}";')
    monkeypatch.setenv("APT_CONFIG", str(config))

    def write(name: str, text: str) -> None:
        (parts / name).write_text(text.format("trixie"))

    return write


@pytest.mark.parametrize(("name", "text"), [("debian.list", ONE_LINE), ("debian.sources", DEB822)], ids=["list", "822"])
def test_mirrors_are_read_from_both_formats(apt_sources, os_release, name, text):
    os_release(ID="debian", VERSION_CODENAME="trixie")
    apt_sources(name, text)
    assert machine.debian_mirrors() == FOUND


def test_mirrors_of_another_release_do_not_count(apt_sources, os_release):
    os_release(ID="debian", VERSION_CODENAME="bookworm")
    apt_sources("debian.list", ONE_LINE)
    assert machine.debian_mirrors() == {}


def test_a_derivative_has_the_mirrors_of_its_debian(apt_sources, os_release):
    os_release(ID="other", VERSION_CODENAME="faye", DEBIAN_CODENAME="trixie")
    apt_sources("debian.list", ONE_LINE)
    assert machine.debian_mirrors() == FOUND


def test_other_systems_have_no_debian_mirror(apt_sources, os_release):
    os_release(ID="ubuntu", VERSION_CODENAME="trixie")
    apt_sources("debian.list", ONE_LINE)
    assert machine.debian_mirrors() == {}


def test_a_machine_without_apt_has_no_mirror(programs, os_release):
    os_release(ID="debian", VERSION_CODENAME="trixie")
    assert run("apt-get").returncode == 127
    assert machine.debian_mirrors() == {}


@pytest.fixture
def pip_conf(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment for a pip with this configuration."""

    def write(text: str) -> dict[str, str]:
        if not text:
            return {"PIP_CONFIG_FILE": os.devnull}
        (tmp_path / "pip.conf").write_text(text)
        return {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "HOME": str(tmp_path)}

    return write


GLOBAL = "[global]\nindex-url = https://index.example/simple\n"
INSTALL = "[install]\nindex-url = https://install.example/simple\n"


@pytest.mark.parametrize(
    ("text", "more", "index"),
    [
        (GLOBAL, {}, "https://index.example/simple"),
        (GLOBAL + INSTALL, {}, "https://install.example/simple"),
        (GLOBAL, {"PIP_INDEX_URL": "https://env.example/50%25"}, "https://env.example/50%25"),
        ("[global]\ntimeout = 5\n", {}, None),
    ],
    ids=["global", "install-wins", "environment-wins", "none"],
)
def test_the_index_is_the_one_pip_uses(pip_conf, text, more, index):
    assert machine.pip_setting("index-url", {**pip_conf(text), **more}) == index


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The machine's folder for added certificates, and its bundle."""
    added, bundle = tmp_path / "added", tmp_path / "bundle.crt"
    added.mkdir()
    bundle.touch()
    monkeypatch.setattr(machine, "CERTIFICATES", ((added, bundle),))
    return added, bundle


def test_public_certificates_need_no_bundle(trust, pip_conf):
    _, bundle = trust
    assert machine.ca_bundle({**pip_conf(""), "SSL_CERT_FILE": str(bundle)}) is None


def test_an_added_certificate_gives_the_machines_bundle(trust, pip_conf):
    added, bundle = trust
    (added / "machine.crt").touch()
    assert machine.ca_bundle(pip_conf("")) == str(bundle)


@pytest.mark.parametrize("where", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "pip.conf"])
def test_a_bundle_elsewhere_is_found(trust, pip_conf, tmp_path, where):
    other = tmp_path / "other.pem"
    other.touch()
    env = pip_conf(f"[global]\ncert = {other}\n" if where == "pip.conf" else "")
    assert machine.ca_bundle({**env, where: str(other)}) == str(other)
    other.unlink()
    assert machine.ca_bundle({**env, where: str(other)}) is None


def test_settings_hold_only_what_is_set(trust, pip_conf, os_release):
    os_release(ID="other")
    env = pip_conf("")
    assert machine.settings(env) == {}
    env["https_proxy"] = "http://proxy.example:3128"
    assert machine.settings(env) == {"HTTPS_PROXY": "http://proxy.example:3128"}


@pytest.mark.parametrize("password", ["", "reader:secret@"])
def test_the_lab_does_not_get_the_password_of_the_index(trust, pip_conf, os_release, password):
    os_release(ID="other")
    index = f"https://{password}index.example/simple"
    lab = {} if password else {"LAB_PIP_INDEX_URL": index}
    found = machine.settings(pip_conf(f"[global]\nindex-url = {index}\n"))
    found.pop("LAB_CA_BUNDLE", None)  # the machine's pip may name one
    assert found == {"PIP_INDEX_URL": index, **lab}
