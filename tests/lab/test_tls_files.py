"""What the check of certificate and key says about each fault, and that it says nothing about good files."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.package_index import authority, dated, signed
from tests.support.project import Render
from tests.support.requirements import lacking

HOSTS = ["localhost", "127.0.0.1", "::1", "lab.example.net"]
UID = os.getuid()
FIX = "Run 'the fix'."


@pytest.fixture(scope="module", params=["self-signed", pytest.param("files", marks=pytest.mark.full)])
def programs(request: pytest.FixtureRequest, render: Render) -> Iterator[dict[str, ModuleType]]:
    """The programs in lab/server/tls of a project with this answer. They import each other by name."""
    if not shutil.which("openssl"):
        lacking("openssl, which reads the certificates, is missing")
    before = os.umask(0o022)  # other tests share the rendered project, and `foreign` sets another umask
    folder = render(tls=request.param).folder / "lab/server/tls"
    os.umask(before)
    found: dict[str, ModuleType] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.syspath_prepend(str(folder.parent / "certificates"))
        for name in ("pem", "making", "check", "authority"):
            sys.modules.pop(name, None)
            if (folder / f"{name}.py").exists() or (folder.parent / f"certificates/{name}.py").exists():
                found[name] = importlib.import_module(name)
        yield found
    for name in found:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module", autouse=True)
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a CA of someone else, and its certificates. Keys that a test adds are its user's own."""
    before = os.umask(0o077)
    folder = tmp_path_factory.mktemp("foreign")
    authority(folder)
    for host in ("lab.example.net", "bank.example.com"):
        signed(folder, host)
    yield folder
    os.umask(before)


@pytest.fixture
def certs(programs: dict[str, ModuleType], foreign: Path, tmp_path: Path) -> Path:
    """A folder with good files."""
    if "authority" in programs:
        programs["authority"].main(tmp_path, HOSTS, UID, renew=False)
    else:
        take(foreign, "lab.example.net", tmp_path)
    return tmp_path


def take(foreign: Path, host: str, folder: Path) -> None:
    """Use the certificate and the key for `host` of someone else's CA."""
    for name in ("pem", "key"):
        shutil.copy(foreign / f"{host}.{name}", folder / f"server.{name}")


def lasting(folder: Path, start: str, end: str) -> None:
    """Sign the certificate again, valid from `start` to `end` (YYMMDDHHMMSSZ)."""
    ca = folder if (folder / "ca.key").exists() else None
    dated(folder / "server.pem", folder / "server.key", ca, start, end, "DNS:lab.example.net")


def run(folder: Path, *words: str | Path) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def encrypt(folder: Path) -> None:
    run(folder, "pkey", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked")
    (folder / "locked").replace(folder / "server.key")


def replace_key(folder: Path) -> None:
    run(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "server.key")


def link(folder: Path) -> None:
    (folder / "server.pem").unlink()
    (folder / "server.pem").symlink_to("/etc/letsencrypt/live/lab/fullchain.pem")


def make_folder(folder: Path) -> None:
    (folder / "server.key").unlink()
    (folder / "server.key").mkdir()


# Fault -> how it comes about, and the beginning of the sentence about it.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no certificate": (lambda folder: (folder / "server.pem").unlink(), "certs/server.pem is missing. "),
    "no key": (lambda folder: (folder / "server.key").unlink(), "certs/server.key is missing. "),
    "a folder": (make_folder, "certs/server.key is a folder. Run 'sudo rmdir certs/server.key'. "),
    "a link": (link, "certs/server.pem is a link to '/etc/letsencrypt/live/lab/fullchain.pem', which the lab does not"),
    "a key that others can read": (
        lambda folder: (folder / "server.key").chmod(0o644),
        "certs/server.key has the mode 644, so other users of this machine can read this key. "
        "Run 'chmod 600 certs/server.key'.",
    ),
    "a key that the group can read": (
        lambda folder: (folder / "server.key").chmod(0o640),
        "certs/server.key has the mode 640, ",
    ),
    "another file": (
        lambda folder: (folder / "server.pem").write_text("text\n"),
        "certs/server.pem contains no certificate in PEM form. ",
    ),
    "a damaged key": (
        lambda folder: (folder / "server.key").write_text("x\n"),
        "certs/server.key contains no key in PEM form. ",
    ),
    "a key with a passphrase": (encrypt, "certs/server.key needs a passphrase, and the lab has none. "),
    "a foreign key": (replace_key, "certs/server.key is not the key of the certificate in certs/server.pem. "),
    "a foreign certificate": (
        lambda folder: take(folder.parent / "foreign0", "bank.example.com", folder),
        "certs/server.pem is a certificate for bank.example.com, but people open the lab as localhost, ",
    ),
    "an old certificate": (
        lambda folder: lasting(folder, "200101000000Z", "200201000000Z"),
        "the certificate certs/server.pem expired on 2020-02-01 at 00:00 UTC. ",
    ),
    "a certificate of the future": (
        lambda folder: lasting(folder, "400101000000Z", "410101000000Z"),
        "the certificate certs/server.pem is valid only from 2040-01-01, 00:00 UTC, but the clock of this machine says",
    ),
}


def test_good_files_are_accepted(programs: dict[str, ModuleType], certs: Path) -> None:
    """The control of all faults."""
    assert programs["check"].problem(certs, HOSTS, UID, FIX) is None
    assert programs["check"].ends_soon(certs, FIX) == (
        None if "authority" in programs else f"the certificate certs/server.pem is valid for 1 more days. {FIX}"
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_sentence_with_its_fix(programs: dict[str, ModuleType], certs: Path, fault: str) -> None:
    spoil, beginning = FAULTS[fault]
    spoil(certs)
    if fault == "a foreign certificate" and "authority" in programs:
        beginning = "certs/server.pem is not signed by the CA in certs/ca.pem. Run 'the fix'."
    said = programs["check"].problem(certs, HOSTS, UID, FIX)
    assert said and said.startswith(beginning), said
    assert "\n" not in said and ("Run '" in said or "Replace it" in said)


def test_the_disks_of_windows_have_no_modes(
    programs: dict[str, ModuleType], certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs["pem"], "without_modes", lambda file: True)
    (certs / "server.key").chmod(0o777)
    assert programs["check"].problem(certs, HOSTS, UID, FIX) is None


def test_names_are_compared_as_a_browser_does(programs: dict[str, ModuleType]) -> None:
    covers = programs["check"].covers
    assert covers("lab.example.net", "lab.example.net") and covers("LAB.example.net", "lab.example.net")
    assert covers("*.example.net", "lab.example.net") and covers("*.example.net", "*.example.net")
    assert covers("0:0:0:0:0:0:0:1", "::1") and covers("192.0.2.1", "192.0.2.1")
    assert not covers("*.example.net", "example.net") and not covers("*.example.net", "a.lab.example.net")
    assert not covers("192.0.2.1", "192.0.2.10") and not covers("example.net", "lab.example.net")


# --- the authority of the project ---------------------------------------------------------------------
only_own = pytest.mark.parametrize("programs", ["self-signed"], indirect=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@only_own
def test_a_renewal_keeps_the_authority(programs: dict[str, ModuleType], certs: Path) -> None:
    own = programs["authority"]
    before = contents(certs)
    assert before.keys() == {"ca.pem", "ca.key", "server.pem", "server.key"}
    assert {path.name: path.stat().st_mode & 0o777 for path in certs.iterdir()} == {
        "ca.pem": 0o644, "ca.key": 0o600, "server.pem": 0o644, "server.key": 0o600
    }  # fmt: skip
    assert own.main(certs, HOSTS, UID, renew=False) == "" and contents(certs) == before
    said = own.main(certs, HOSTS, UID, renew=True)
    assert (
        said
        == "The new certificate certs/server.pem is valid for 397 days. Browsers that trust certs/ca.pem trust it too."
    )
    after = contents(certs)
    assert {name for name in after if after[name] != before.get(name)} == {"server.pem", "server.key"}
    assert programs["check"].problem(certs, HOSTS, UID, FIX) is None


@only_own
def test_new_names_get_a_new_certificate(programs: dict[str, ModuleType], certs: Path) -> None:
    own = programs["authority"]
    before = contents(certs)
    own.main(certs, [*HOSTS, "192.0.2.7", "*.dash.example.net"], UID, renew=False)
    names = programs["check"].read_certificate(certs / "server.pem")[2]
    assert {"192.0.2.7", "*.dash.example.net", "*.dashboards.localhost", "localhost"} <= {*names}
    assert contents(certs)["ca.pem"] == before["ca.pem"]


@only_own
@pytest.mark.parametrize("host", ["https://lab.example.net", "lab.example.net:8888", "a,DNS:b", "größe.example"])
def test_what_is_no_name_is_refused(programs: dict[str, ModuleType], certs: Path, host: str) -> None:
    own = programs["authority"]
    before = contents(certs)
    with pytest.raises(own.Refused, match=f"JUPYTER_HOSTS contains '{host}', which is not a host name"):
        own.main(certs, [*HOSTS, host], UID, renew=True)
    assert contents(certs) == before


@only_own
@pytest.mark.parametrize("missing", ["ca.pem", "ca.key"])
def test_half_an_authority_is_refused(programs: dict[str, ModuleType], certs: Path, missing: str) -> None:
    own = programs["authority"]
    (certs / missing).unlink()
    with pytest.raises(own.Refused, match=rf"certs/{missing} is missing, so the CA .* Run 'rm -f certs/ca\.\*' and"):
        own.main(certs, HOSTS, UID, renew=True)


@only_own
def test_an_authoritys_key_that_others_can_read_is_refused(programs: dict[str, ModuleType], certs: Path) -> None:
    own = programs["authority"]
    (certs / "ca.key").chmod(0o604)
    with pytest.raises(own.Refused, match=r"certs/ca\.key has the mode 604, so other users"):
        own.main(certs, HOSTS, UID, renew=True)


@only_own
def test_the_certificate_lasts_a_year(programs: dict[str, ModuleType], certs: Path) -> None:
    start, end, _ = programs["check"].read_certificate(certs / "server.pem")
    assert (end - start).days == 397 and start <= datetime.now(UTC)
