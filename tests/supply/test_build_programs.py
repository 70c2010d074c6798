"""The programs that the Dockerfile runs, each as a module: lab/build/*.py."""

import os
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.build_programs import load


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run_and_explain.py on a machine without secrets, bundle and apt sources."""
    module = load("run_and_explain")
    for name in ("CERTIFICATES", "INDEX", "BUNDLE", "SOURCES"):
        monkeypatch.setattr(module, name, tmp_path / name)
    for name in ("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "DEBIAN_PINS"):
        monkeypatch.delenv(name, raising=False)
    return module


# --- run_and_explain.py -------------------------------------------------------------------------------
# What a tool prints, and a word of the sentence that explains it.
FAILURES = {
    "OSError: [Errno 28] No space left on device": "the disk is full (",
    "write failed (os error 28)": "the disk is full (",
    "403 Client Error: Forbidden for url: https://index.example/": "refuses your credentials (PIP_INDEX_URL is 'A')",
    "HTTP status client error (401 Unauthorized) for url": "refuses your credentials",
    "E: Version '1.0' for 'git' was not found": "no longer has git 1.0, which your image contains",
    "Failed to extract archive: numpy-2.whl": "has a damaged file (numpy-2.whl)",
    "ERROR: Wheel 'uv' located at /tmp/uv.whl is invalid.": "has a damaged file (uv)",
    "invalid peer certificate: UnknownIssuer": "the package index is not trusted (LAB_CA_BUNDLE adds 0 certificates)",
    "SSL: CERTIFICATE_VERIFY_FAILED": "is not trusted",
    "error: Hash mismatch for `uv==0.1`": "does not match its hash in the lock",
    "E: Failed to fetch http://mirror.example  Hash Sum mismatch": "does not match its hash in the lock",
    "dns error: failed to lookup address information": "the package index cannot be reached (PIP_INDEX_URL is 'A')",
    "Temporary failure in name resolution": "cannot be reached",
    "Could not connect to mirror.example:80": "cannot be reached",
    "ERROR: No matching distribution found for nothing==9": "has no 'nothing==9' for this platform",
}
UNCLEAR = "Resolved 12 packages in 3ms\nerror: Failed to build `pyspark==4`"


@pytest.mark.parametrize("said", FAILURES)
def test_a_failure_is_explained(program: ModuleType, said: str) -> None:
    found = program.reason(f"Resolved 12 packages\n{said}\n", program.Source("the package index", "PIP_INDEX_URL", "A"))
    assert FAILURES[said] in found and found.endswith(".") and "\n" not in found


def test_an_unclear_failure_gets_no_wrong_reason(program: ModuleType) -> None:
    """The control: uv says "Resolved" in every log, and a failed build is no fault of the network."""
    assert program.reason(UNCLEAR, program.Source("the package index", "PIP_INDEX_URL", "A")) is None


def test_pins_that_are_gone_are_named(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    source = program.Source("the Debian mirror", "DEBIAN_MIRROR", "")
    gone = "E: Version '1.0' for 'git' was not found"
    broken = "E: Unable to correct problems, you have held broken packages."
    assert "make pin" not in (program.reason(gone, source) or "") + (program.reason(broken, source) or "")
    monkeypatch.setenv("DEBIAN_PINS", "git=1.0")
    assert "the pinned git 1.0. Run 'make pin'" in program.reason(gone, source)
    assert "Run 'make pin'" in program.reason(broken, source)
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    assert "the bundle in lab/bundle lacks git 1.0" in program.reason(gone, source)


def test_a_restored_project_uses_no_network(program: ModuleType) -> None:
    assert "PIP_NO_INDEX" not in program.python_settings([], program.CERTIFICATES)
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    found = program.python_settings([], program.CERTIFICATES)
    assert found["PIP_NO_INDEX"] == "1"
    assert found["PIP_FIND_LINKS"] == found["UV_FIND_LINKS"] == str(program.BUNDLE / "wheels")


def test_uv_of_a_restored_project_asks_no_index(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The control: without a bundle, the command does not change."""
    (tmp_path / "uv").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program.BUNDLE.mkdir()
    for printed in ("pip sync some.lock", "pip sync some.lock --no-index"):
        assert program.run_and_explain("uv", "pip", "sync", "some.lock") == 0
        assert capfd.readouterr().out == f"{printed}\n"
        (program.BUNDLE / "SHA256SUMS").touch()


def test_the_first_index_is_the_default_and_the_others_are_asked_first(program: ModuleType) -> None:
    found = program.python_settings(["https://one", "https://two", "https://three"], program.CERTIFICATES)
    assert found["UV_DEFAULT_INDEX"] == found["PIP_INDEX_URL"] == "https://one"
    assert found["UV_INDEX"] == found["PIP_EXTRA_INDEX_URL"] == "https://two https://three"


SOURCES = "Types: deb\nURIs: http://a.example/debian\n\nTypes: deb\nURIs: http://a.example/debian-security\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, SOURCES),
        ({"DEBIAN_MIRROR": "http://m/d"}, SOURCES.replace("http://a.example/debian\n", "http://m/d\n")),
        (
            {"DEBIAN_SECURITY_MIRROR": "http://m/s"},
            SOURCES.replace("http://a.example/debian-security\n", "http://m/s\n"),
        ),
    ],
)
def test_apt_uses_your_mirrors(
    program: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    expected: str,
) -> None:
    program.SOURCES.mkdir()
    (program.SOURCES / "debian.sources").write_text(SOURCES)
    (program.SOURCES / "yours.sources").write_text("Types: deb\nURIs: http://yours.example\n")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "apt"
    folder.mkdir()
    configuration = Path(program.apt_settings(folder)["APT_CONFIG"]).read_text()
    assert (folder / "sources/debian.sources").read_text() == expected
    assert (folder / "sources/yours.sources").exists()
    assert f'Dir::Etc::SourceParts "{folder}/sources";' in configuration and "CAInfo" not in configuration


def test_apt_of_a_restored_project_reads_the_bundle_only(program: ModuleType, tmp_path: Path) -> None:
    program.SOURCES.mkdir()
    (program.SOURCES / "debian.sources").write_text(SOURCES)
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    folder = tmp_path / "apt"
    folder.mkdir()
    configuration = Path(program.apt_settings(folder)["APT_CONFIG"]).read_text()
    assert [path.name for path in (folder / "sources").iterdir()] == ["bundle.sources"]
    assert 'Dir::Etc::SourceList "/dev/null";' in configuration


def test_a_failed_command_ends_with_one_sentence_and_its_own_status(
    program: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    assert program.run_and_explain("sh", "-c", "echo 'at https://me:secret@index.example/x'; exit 3") == 3
    shown = capfd.readouterr()
    assert shown.out == "at https://index.example/x\n"
    assert shown.err.startswith("labdock: '") and shown.err.endswith("failed. Read its error in the lines above.\n")
    assert "secret" not in shown.err and shown.err.count("\n") == 1


def test_a_command_that_succeeds_says_nothing_more(program: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    """The control."""
    assert program.run_and_explain("sh", "-c", "echo done") == 0
    assert capfd.readouterr() == ("done\n", "")


# --- split_layers.py ----------------------------------------------------------------------------------
def test_large_packages_move_to_a_layer_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_layers = load("split_layers")
    monkeypatch.setattr(split_layers, "LEAST", 10)
    packages = Path("lib/python3.13/site-packages")
    for name, size in (("large", 11), ("small", 10)):
        (tmp_path / "venv" / packages / name / "deep").mkdir(parents=True)
        (tmp_path / "venv" / packages / name / "deep/file").write_bytes(b"x" * size)
    split_layers.split(tmp_path / "venv", tmp_path / "large")
    assert (tmp_path / "large" / packages / "large/deep/file").exists()
    assert [path.name for path in (tmp_path / "venv" / packages).iterdir()] == ["small"]
    assert [path.name for path in (tmp_path / "large" / packages).iterdir()] == ["large"]


# --- date_java_certificates.py ------------------------------------------------------------------------
def store(module: ModuleType, date: int) -> bytes:
    """A JKS store with two certificates of this date."""
    entry = module.CERTIFICATE + (1).to_bytes(2) + b"a" + date.to_bytes(8) + (5).to_bytes(2) + b"X.509"
    entry += (3).to_bytes(4) + b"der"
    content = bytes.fromhex("feedfeed") + (2).to_bytes(4) + (2).to_bytes(4) + entry * 2
    return content + module.checksum(content)


def test_certificates_of_any_date_become_the_same_store() -> None:
    module = load("date_java_certificates")
    assert store(module, 1) != store(module, 2)
    assert module.dated(store(module, 1)) == module.dated(store(module, 2))
    assert module.dated(store(module, 1)) == store(module, 315_532_800_000)


def test_a_store_with_another_password_stays_as_it_is() -> None:
    module = load("date_java_certificates")
    other = store(module, 1)[:-1] + b"?"
    assert module.dated(other) == other


# --- bundle.py ----------------------------------------------------------------------------------------
def test_what_builds_a_source_package_is_read_from_its_archive(program: ModuleType, tmp_path: Path) -> None:
    bundle = load("bundle")
    (tmp_path / "x-1").mkdir()
    (tmp_path / "x-1/pyproject.toml").write_text('[build-system]\nrequires = ["setuptools>=80"]\n')
    for name, members in (("with", ["x-1/pyproject.toml"]), ("without", [])):
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
            for member in members:
                archive.add(tmp_path / member, member)
    assert bundle.build_requirements(tmp_path / "with.tar.gz") == ["setuptools>=80"]
    assert bundle.build_requirements(tmp_path / "without.tar.gz") == []


def test_constraints_are_the_versions_of_a_lock(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load("bundle")
    monkeypatch.setattr(bundle, "LOCKS", tmp_path)
    lock = "a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n"
    (tmp_path / "x.lock").write_text(lock)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert Path(bundle.constraints("x.lock")).read_text() == "a==1 ; sys_platform == 'win32'\nb==2"
