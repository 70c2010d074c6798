"""The certificates of the Dask cluster: made at the start, renewed, and refused if something is wrong with them."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from tests.lab.test_cluster import CONNECT, cluster, containers, run, workers  # noqa: F401 (a fixture)
from tests.support.doctor import doctor
from tests.support.package_index import dated
from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tests.support.waiting import until

UID = os.getuid()
ROLES = ("client", "scheduler", "worker")


@pytest.fixture(scope="module")
def program(render: Render) -> Iterator[ModuleType]:
    """The program that makes the certificates (lab/server/cluster/authority.py)."""
    if not shutil.which("openssl"):
        lacking("openssl, which makes the certificates, is missing")
    folder = render(scale_out="dask").folder / "lab/server"
    names = ("pem", "making", "authority")
    with pytest.MonkeyPatch.context() as patch:
        for part in ("certificates", "cluster"):
            patch.syspath_prepend(str(folder / part))
        for name in names:
            sys.modules.pop(name, None)
        yield importlib.import_module("authority")
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def made(program: ModuleType, tmp_path: Path) -> Iterator[Path]:
    """A folder with certificates."""
    before = os.umask(0o022)
    folder = tmp_path / "cluster"
    assert program.main(folder, UID, renew=False) == ""
    yield folder
    os.umask(before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(before: dict[str, bytes], folder: Path) -> set[str]:
    after = contents(folder)
    assert after.keys() == before.keys()
    return {name for name in after if after[name] != before[name]}


def own(*roles: str) -> set[str]:
    return {f"{role}/tls.{part}" for role in roles for part in ("key", "pem")}


def test_each_role_has_its_own_key(program: ModuleType, made: Path) -> None:
    """Only the user can read a key, and each certificate is for clients and servers."""
    files = {"ca.key", "ca.pem", *own(*ROLES), *(f"{role}/ca.pem" for role in ROLES)}
    before = contents(made)
    assert before.keys() == files and len({before[f"{role}/tls.key"] for role in ROLES}) == 3
    modes = {path.stat().st_mode & 0o777 for path in made.rglob("*.key")}
    folders = {path.stat().st_mode & 0o777 for path in (made, *(made / role for role in ROLES))}
    assert (modes, folders) == ({0o600}, {0o700})
    for role in ROLES:
        for purpose in ("sslserver", "sslclient"):
            command = ("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", made / role / "ca.pem")
            subprocess.run([*command, made / role / "tls.pem"], check=True, capture_output=True)
    assert program.main(made, UID, renew=False) == "" and changed(before, made) == set()


def test_a_renewal_keeps_the_ca(program: ModuleType, made: Path) -> None:
    before = contents(made)
    assert "are valid for 397 days" in program.main(made, UID, renew=True)
    assert changed(before, made) == own(*ROLES)


def test_what_ends_soon_or_does_not_fit_is_made_again(
    program: ModuleType, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's certificate ends in 29 days, and the client's key is another one."""
    making = sys.modules["making"]
    with monkeypatch.context() as patch:
        patch.setattr(making, "LEAF_DAYS", 29)
        making.make_signed(made / "worker", "tls", "cluster", made, "worker", "")
    shutil.copy(made / "scheduler/tls.key", made / "client/tls.key")
    before = contents(made)
    assert program.main(made, UID, renew=False) == ""
    assert changed(before, made) == own("client", "worker")
    assert all(program.usable(made / role, made / "ca.pem") for role in ROLES)


@pytest.mark.parametrize("missing", ["ca.pem", "ca.key"])
def test_half_an_authority_is_refused(program: ModuleType, made: Path, missing: str) -> None:
    (made / missing).unlink()
    with pytest.raises(
        program.Refused, match=rf"secrets/cluster/{missing} is missing, .* Run 'rm -rf secrets/cluster'"
    ):
        program.main(made, UID, renew=False)


def test_another_authority_replaces_every_certificate(program: ModuleType, made: Path) -> None:
    before = contents(made)
    (made / "ca.pem").unlink()
    (made / "ca.key").unlink()
    program.main(made, UID, renew=False)
    assert changed(before, made) == before.keys()


def test_an_authoritys_key_that_others_can_read_is_refused(program: ModuleType, made: Path) -> None:
    (made / "ca.key").chmod(0o604)
    with pytest.raises(program.Refused, match=r"secrets/cluster/ca\.key has the mode 604, so other users"):
        program.main(made, UID, renew=False)


# --- a running cluster -------------------------------------------------------------------------------------
@pytest.mark.full
def test_make_certs_renews_the_cluster_and_keeps_notebooks(cluster: Project) -> None:  # noqa: F811
    """The CA stays, so the other machines can keep their keys."""
    folder = cluster.folder / "secrets/cluster"
    before, lab = contents(folder), containers(cluster, "lab")[0]["State"]["StartedAt"]
    done = cluster.make("certs")
    assert "The new certificates in secrets/cluster/ are valid for 397 days." in done.stdout
    assert changed(before, folder) == own(*ROLES)
    assert containers(cluster, "lab")[0]["State"]["StartedAt"] == lab
    until(lambda: workers(cluster) == 2, "the workers are back")
    assert run(cluster, "print(client.submit(sum, [20, 22]).result())") == "42\n"
    assert serials(cluster)[0] == serials(cluster)[1]


def serials(project: Project) -> list[str]:
    """The serial numbers of the certificate that the scheduler shows, and of the one in its file."""
    shown = "openssl s_client -connect 127.0.0.1:8786 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return project.shell(f"{shown}; openssl x509 -noout -serial -in /run/cluster/tls.pem", "scheduler").splitlines()


def sign(project: Project, role: str, start: datetime, end: datetime) -> None:
    """Replace the certificate of a role by one with these dates."""
    folder = project.folder / "secrets/cluster"
    dates = [f"{date:%y%m%d%H%M%SZ}" for date in (start, end)]
    dated(folder / role / "tls.pem", folder / role / "tls.key", folder, *dates)


NOTE = "the certificates of the cluster are valid for less than 30 days. Run 'make certs'"


@pytest.mark.nightly
def test_a_certificate_that_ends_soon_is_noted_until_the_scheduler_has_another(cluster: Project) -> None:  # noqa: F811
    """`make up` makes a new file, but a running scheduler keeps its old certificate."""
    assert NOTE not in "".join(doctor(cluster)["note"])  # the control
    today = datetime.now(UTC)
    sign(cluster, "scheduler", today - timedelta(days=1), today + timedelta(days=20))
    cluster.compose("restart", "scheduler")
    until(lambda: workers(cluster) == 2, "the workers are back")
    assert NOTE in "".join(doctor(cluster)["note"])
    assert NOTE in cluster.make("up").stderr
    assert serials(cluster)[0] != serials(cluster)[1]
    cluster.make("certs")
    assert NOTE not in "".join(doctor(cluster)["note"])
    until(lambda: workers(cluster) == 2, "the workers are back")


@pytest.mark.full
@pytest.mark.parametrize("service", ["worker", "scheduler"])
def test_an_expired_certificate_is_refused_and_up_replaces_it(
    cluster: Project,  # noqa: F811
    service: str,
) -> None:
    """The service says so and waits. `make up` makes a new certificate and starts it."""
    sign(cluster, service, datetime(2020, 1, 1), datetime(2020, 2, 1))
    cluster.compose("restart", "--timeout", "0", service)
    sentence = (
        f"labdock: the certificate secrets/cluster/{service}/tls.pem is not valid or has expired. Run 'make certs'"
    )
    until(lambda: sentence in cluster.compose("logs", service).stdout, "it refuses")
    cluster.make("up")
    until(lambda: workers(cluster) == 2, "the cluster is back")
    assert run(cluster, "print(client.submit(sum, [20, 22]).result())") == "42\n"
