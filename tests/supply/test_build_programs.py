"""The programs that the Dockerfile runs, each as a module: lab/build/*.py."""

import hashlib
import json
import os
import re
import tarfile
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.build_programs import BUILD, load


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run_and_explain.py on a machine without secrets, bundle and apt sources."""
    module = load("run_and_explain")
    for name in ("CERTIFICATES", "INDEX", "BUNDLE", "SOURCES", "EXTENSIONS"):
        monkeypatch.setattr(module, name, tmp_path / name)
    for name in ("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "DEBIAN_PINS"):
        monkeypatch.delenv(name, raising=False)
    return module


# --- run_and_explain.py -------------------------------------------------------------------------------
# What uv, pip or apt printed in a real failure, and words of the sentence that explains it.
FETCH = "error: Request failed after 3 retries in 4.4s\n  cause: Failed to fetch: http://i.example/simple/x/\n"
SENT = "  cause: error sending request for url (http://i.example/simple/x/)\n  cause: client error (Connect)\n"
SKIPPED = "2026-11-29T04:41:11,246 Could not fetch URL https://i.example/simple/six/: {} - skipping\n"
NONE = "ERROR: No matching distribution found for six\n"
APT = "E: Failed to fetch http://m.example/debian/dists/trixie/InRelease  {}\n"
DIRECT = "error: Failed to download `six @ https://f.example/six-1.17.0-py2.py3-none-any.whl`\n"
FILE = FETCH.replace("http://i.example/simple/x/", "https://f.example/six-1.zip")
PSYCOPG = r"""error: Failed to build `psycopg2==2.9.13`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.get_requires_for_build_wheel` failed (exit status: 1)

         [stdout]
         running egg_info

         [stderr]
         SetuptoolsDeprecationWarning: License classifiers are deprecated.

         Error: pg_config executable not found.

         pg_config is required to build psycopg2 from source.  Please add the directory
         containing pg_config to the $PATH or specify the full executable path with the
         option:

             python setup.py build_ext --pg-config /path/to/pg_config build ...

hint: Build failures usually indicate a problem with the package or the build environment
"""
COMPILED = """error: Failed to build `levels==1`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         src/errors.c:3:10: fatal error: Python.h: No such file or directory
             3 | #include <Python.h>
         compilation terminated.
         error: command '/usr/bin/gcc' failed with exit code 1
"""
PIP_BUILT = """2026-11-29T04:41:58,680   Running command Getting requirements to build wheel
2026-11-29T04:41:59,277   running egg_info
2026-11-29T04:41:59,318   Error: pg_config executable not found.

2026-11-29T04:41:59,635   ERROR: [present-rich] Getting requirements to build wheel exited with 1
2026-11-29T04:41:59,657 pip._internal.exceptions.InstallationSubprocessError: exited with 1
2026-11-29T04:41:59,670 Removed psycopg2==2.9.13 from https://i.example/psycopg2.tar.gz from build tracker
error: subprocess-exited-with-error

× Getting requirements to build wheel did not run successfully.
"""
FAILURES = {
    "OSError: [Errno 28] No space left on device\n": "the disk is full (",
    "  cause: failed to write to file: No space left on device (os error 28)\n": "the disk is full (",
    "E: Write error - write (28: No space left on device)\n": "the disk is full (",
    "/tmp/x.s: fatal error: error writing to /tmp/x.s: No space left on device\n": "the disk is full (",
    "hint: An index URL (https://i.example/simple) could not be queried due to a lack of valid authentication "
    "credentials (401 Unauthorized)\n": "the package index refuses your credentials (PIP_INDEX_URL is 'A')",
    "hint: An index (https://i.example/simple) returned a 403 Forbidden error. Check that ...\n": "your credentials (",
    SKIPPED.format("401 Client Error: Unauthorized for url: https://i.example/simple/six/") + NONE: "credentials (",
    APT.format("401  Unauthorized [IP: 127.0.0.1 80]"): "refuses your credentials",
    APT.format("404  Not Found [IP: 127.0.0.1 80]"): "answers '404 Not Found' for http://m.example/debian/dists/",
    FETCH + "  cause: HTTP status server error (500 Internal Server Error) for url (http://i.example/simple/x/)\n": (
        "answers '500 Internal Server Error' for http://i.example/simple/x/. Try again. "
    ),
    "  cause: HTTP status client error (407 Proxy Authentication Required) for url (http://i.example/simple/x/)\n": (
        "your site's proxy refuses to connect to the package index (407 Proxy"
    ),
    "E: Version '1.0' for 'git' was not found\n": "no longer has git 1.0, which your image contains",
    "  cause: Failed to extract archive: numpy-2.whl\n": "has a damaged file (numpy-2.whl)",
    "ERROR: Wheel 'uv' located at /tmp/uv.whl is invalid.\n": "has a damaged file (uv)",
    FETCH + SENT + "  cause: invalid peer certificate: UnknownIssuer\n": "is not trusted (LAB_CA_BUNDLE adds 0 ",
    SKIPPED.format("There was a problem confirming the ssl certificate: HTTPSConnectionPool") + NONE: "not trusted",
    APT.format("Certificate verification failed: The certificate is NOT trusted."): "is not trusted",
    "  cause: Hash mismatch for `uv==0.1`\n": "does not match its hash in the lock",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If\n": "does not match its hash",
    APT.format("Hash Sum mismatch"): "does not match its hash in the lock",
    FETCH + SENT + "  cause: dns error\n": "the package index cannot be reached (PIP_INDEX_URL is 'A')",
    FETCH + SENT + "  cause: tcp connect error\n  cause: Connection refused (os error 111)\n": "cannot be reached",
    "  cause: error sending request for url (http://i.example)\n  cause: operation timed out\n": "cannot be reached",
    SKIPPED.format("connection error: HTTPConnectionPool(host='i.example', port=9): Max retries") + NONE: "be reached",
    APT.format("Could not resolve 'm.example'"): "cannot be reached",
    APT.format("Could not connect to m.example:9 (127.0.0.1). - connect (111: Connection refused)"): "be reached",
    NONE: "has no 'six' for this platform",
    "  cause: Because pywin32==312 has no wheels with a matching platform tag (e.g., `x`)\n": "has no 'pywin32==312' ",
    "E: Unable to locate package jqq\n": "has no package 'jqq'. Correct its name",
    "WARNING: The repository located at i.example is not a trusted or secure host and is ignored\n" + NONE: "Use https",
    DIRECT + SENT: "https://f.example/six-1.17.0-py2.py3-none-any.whl cannot be reached. Check this addr",
    FILE
    + "  cause: error sending request for url (https://f.example/six-1.zip)\n": "https://f.example/six-1.zip cannot",
    DIRECT
    + "  cause: HTTP status client error (404 Not Found) for url (https://f.example/x)\n": "'404 Not Found'. Chec",
    PSYCOPG: "psycopg2==2.9.13 must be built from source, and its build failed with "
    "'Error: pg_config executable not found'. If it needs Debian packages such as gcc, name them in "
    "DEBIAN_BUILD_PACKAGES in compose.override.yaml.",
    COMPILED: "failed with 'src/errors.c:3:10: fatal error: Python.h: No such file or directory'. ",
    PIP_BUILT: "psycopg2==2.9.13 must be built from source, and its build failed with 'Error: pg_config executable not",
}
# Logs with the words of another failure: names of packages and files, and the output of a package's own build.
WORDS = (
    "proxy certificate could not resolve host, could not connect, connection refused, timed out, timeout, unreachable, "
    "self-signed, UnknownIssuer, 403 Forbidden, 401 error, name resolution, dns error, failed to fetch, hash mismatch, "
    "No space left on device is tested, Failed to extract archive: x, E: Unable to locate package x"
)
UNCLEAR = (
    "Resolved 12 packages in 3ms\nerror: Failed to build `pyspark==4`\n",
    " + certifi==2026.1 (certificate)\n + timeout-decorator==0.5\n + proxy-tools==0.1\n + dnspython==2\nerror: other\n",
    f"Setting up resolvconf ...\n{WORDS}\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n",
    f"error: Failed to build `x==1`\n  cause: other\n\n         [stderr]\n         {WORDS}\n         error: {WORDS}\n",
    "2026-11-29T04:41:59,277   Could not fetch URL https://a.example/: connection error: of a test\nERROR: other\n",
    "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError('Connection refused')'\n",
)


@pytest.mark.parametrize("said", FAILURES)
def test_a_failure_is_explained(program: ModuleType, said: str) -> None:
    source = program.Source("the package index", "PIP_INDEX_URL", "A")
    for before in ("Resolved 12 packages\n", f"{WORDS}\n"):
        found = program.reason(f"{before}{said}", source)
        assert FAILURES[said] in found
        assert found.endswith(".") and "\n" not in found


@pytest.mark.parametrize("said", UNCLEAR)
def test_an_unclear_failure_gets_no_wrong_reason(program: ModuleType, said: str) -> None:
    """The control: the words of a reason are not enough. The line of the tool that failed must give the reason."""
    assert program.reason(said, program.Source("the package index", "PIP_INDEX_URL", "A")) is None


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("error: No solution found when resolving dependencies\n  cause: Because there is no version of x\n", True),
        (NONE, True),
        ("E: Unable to locate package jq\n", True),
        (WORDS, False),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)\n", False),
    ],
)
def test_a_restored_project_blames_the_bundle_only_for_what_it_lacks(
    program: ModuleType, said: str, lacks: bool
) -> None:
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    found = program.reason(said, program.Source("the package index", "PIP_INDEX_URL", ""))
    assert ("the bundle in lab/bundle lacks a file" in (found or "")) is lacks
    assert "DEBIAN_BUILD_PACKAGES" in program.reason(PSYCOPG, program.Source("the package index", "PIP_INDEX_URL", ""))


def test_extensions_that_do_not_fit_the_server_are_named(program: ModuleType) -> None:
    """The control: in other stages, two versions of a package have another cause."""
    said = "cause: Because you require tornado==5.9 and tornado==6, we can conclude that"
    source = program.Source("the package index", "PIP_INDEX_URL", "")
    assert program.reason(said, source) is None
    program.EXTENSIONS.touch()
    assert program.reason(said, source).endswith(" have different versions: tornado 5.9 and 6. Run 'make extend'.")


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
        (
            {"DEBIAN_MIRROR": "http://m/d", "DEBIAN_SECURITY_MIRROR": "http://m/s"},
            "Types: deb\nURIs: http://m/d\n\nTypes: deb\nURIs: http://m/s\n",
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


# --- find_kernels_and_extensions.py -----------------------------------------------------------------------
SERVER_HALF = "etc/jupyter/jupyter_server_config.d/half.json"
# Package -> what it requires, its files outside of site-packages, and what its front-end half declares. None: no half.
PACKAGES: dict[str, tuple[list[str], list[str], dict[str, object] | None]] = {
    "widgets": ([], [], {}),
    "Uses.Server": (["jupyterlab>=4"], [], {}),
    "jupyterlab": ([], [SERVER_HALF], None),
    "both-halves": ([], [SERVER_HALF], {}),
    "declares": ([], [], {"discovery": {"server": {"base": {"name": "declares"}}}}),
    "needs_other": (['other-half>=1; python_version > "3"'], [], {}),
    "other-half": ([], [SERVER_HALF], None),
    "an-extra": (["other-half; extra == 'all'"], [], {}),
    "collaboration": (["collaboration-ui", "other-half"], [], None),
    "collaboration-ui": ([], [], {}),
    "library": (["renderer"], [SERVER_HALF], None),
    "renderer": (["parameters"], [], {}),
}


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """find_kernels_and_extensions.py for an environment in the test's folder."""
    module = load("find_kernels_and_extensions")
    monkeypatch.setattr(module, "SHARE", tmp_path / "share/jupyter")
    monkeypatch.setattr(module, "OFFERED", tmp_path / "share/jupyter/offered/labextensions")
    monkeypatch.setattr(module, "LEFT_OUT", tmp_path / "share/jupyter/offered/left-out.txt")
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path))
    return module


def package(folder: Path, name: str, requires: list[str], files: dict[str, str], points: str = "") -> PathDistribution:
    """An installed package with files below `folder`."""
    site = folder / "lib/python3/site-packages"
    described = site / f"{name.replace('-', '_')}-1.0.dist-info"
    described.mkdir(parents=True)
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    (described / "entry_points.txt").write_text(points)
    (described / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return PathDistribution(described)


def test_a_front_end_half_without_its_server_half_is_left_out(
    offer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule has a package that it leaves out, and one that it does not."""
    made = []
    for name, (requires, outside, declared) in PACKAGES.items():
        files = {f"../../../{path}": "{}" for path in outside}
        if declared is not None:
            described = json.dumps({"name": name, "jupyterlab": declared})
            files[f"../../../share/jupyter/labextensions/@scope/{name}/package.json"] = described
        made.append(package(tmp_path, name, requires, files))
    made.append(package(tmp_path, "pack-fr", [], {}, "[jupyterlab.languagepack]\nfr_FR = pack_fr\n"))
    monkeypatch.setattr(offer, "distributions", lambda: made)
    offer.main()
    offered = {path.name for path in offer.OFFERED.glob("@scope/*")}
    assert offered == {"widgets", "Uses.Server", "an-extra", "renderer"}
    assert all((offer.OFFERED / "@scope" / name / "package.json").exists() for name in offered)
    assert offer.LEFT_OUT.read_text().split() == ["both-halves", "collaboration", "declares", "needs-other", "pack-fr"]


def test_a_package_writes_its_kernel(offer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: other modules with the name install.py do not run."""
    kernel = "manager.install_kernel_spec(folder, prefix=options.sys_prefix)  # --sys-prefix\n"
    files = {"first_kernel/install.py": kernel, "other/install.py": "", "deep/first_kernel/install.py": kernel}
    made = {"first-kernel": package(tmp_path, "first-kernel", [], files)}
    ran = []
    monkeypatch.setattr(offer.subprocess, "run", lambda command, **_: ran.append(command[1:]))
    offer.write_kernels(made)
    assert ran == [("-m", "first_kernel.install", "--sys-prefix")]


def test_the_servers_halves_that_count_as_there_are_in_its_lock(offer: ModuleType) -> None:
    lock = (BUILD.parent / "locks/server.lock").read_text(encoding="utf-8")
    assert [name for name in offer.OF_THE_SERVER if f"\n{name}==" not in f"\n{lock}"] == []


# --- packages.py --------------------------------------------------------------------------------------
LISTS = """[project]
name = "mine"
dependencies = ["ipykernel", "jupytext>=1"]
[dependency-groups]
server = ["Jupyterlab_Git>=0.50", "jupytext"]
"""


@pytest.fixture
def packages(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """packages.py in a folder with LISTS and empty locks, and a stand-in for uv that changes nothing."""
    module = load("packages")
    monkeypatch.chdir(tmp_path)
    for name in (module.LOCK, module.EXTENSIONS, module.SERVER, module.EXCLUDED):
        Path(name).write_text("")
    Path(module.PROJECT).write_text(LISTS)
    monkeypatch.setattr(module, "uv", lambda *arguments: None)
    return module


def test_a_name_is_removed_from_each_list_that_has_it(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(packages, "uv", lambda *arguments: ran.append(arguments))
    packages.edit("remove", ["jupyterlab-git", "jupytext", "ipykernel", "unknown"])
    assert ran == [
        ("remove", "--frozen", "--group", "server", "--", "jupyterlab-git", "jupytext"),
        ("remove", "--frozen", "--", "jupytext", "ipykernel", "unknown"),
    ]


def test_extensions_are_resolved_with_the_servers_versions(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(packages, "uv", lambda *arguments: ran.append(" ".join(arguments)))
    packages.resolve(packages.EXTENSIONS)
    assert "--group pyproject.toml:server --constraints server.lock --excludes excluded-packages.txt" in ran[0]
    packages.resolve(packages.LOCK)
    assert "server" not in ran[1]
    Path(packages.PROJECT).write_text(LISTS.partition("[dependency-groups]")[0])
    Path(packages.EXTENSIONS).write_text("old==1\n")
    packages.resolve(packages.EXTENSIONS)
    assert len(ran) == 2 and Path(packages.EXTENSIONS).read_text() == ""


def test_extend_says_what_changed_besides_the_servers_own_packages(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(packages.SERVER).write_text("tornado==6 \\\n")

    def extend(names: list[str], lock: str) -> str:
        monkeypatch.setattr(packages, "uv", lambda *_: Path(packages.EXTENSIONS).write_text(lock))
        assert packages.run("extend", names)
        return capsys.readouterr().err

    assert extend(["jupytext"], "jupytext==1 \\\ntornado==6 \\\n") == (
        "  jupytext (new) -> 1\nPackages changed: 1. `make up` builds them.\n"
    )
    assert extend([], "jupytext==1 \\\ntornado==6 \\\n") == "Nothing changes: the lock has these versions already.\n"
    assert extend([], "jupytext==1 \\\ntornado==7 \\\n").startswith("The extensions fit the server's packages again.")


def test_extend_needs_a_name_or_a_list(packages: ModuleType) -> None:
    assert packages.run("extend", [])  # the control: LISTS names extensions
    Path(packages.PROJECT).write_text(LISTS.partition("[dependency-groups]")[0])
    with pytest.raises(packages.Refused, match=r"no package is named\. Run 'make extend PKG="):
        packages.run("extend", [])


def test_the_extensions_of_a_restored_project_cannot_change(
    program: ModuleType, packages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "resolve_here", dict)
    packages.edit("remove", ["jupyterlab-git"])  # the control: without a bundle
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    monkeypatch.setattr(packages, "restored", program.restored)
    for command, names in (("extend", ["jupytext"]), ("extend", []), ("remove", ["jupyterlab-git"])):
        with pytest.raises(packages.Refused, match="restored from lab/bundle, which has no newer versions"):
            packages.run(command, names)
    assert packages.run("remove", ["ipykernel"])


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


def downloads(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The commands that bundle.py runs to download packages."""
    bundle = load("bundle")
    (tmp_path / "x.lock").write_text("a==1 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(bundle, "LOCKS", tmp_path)
    ran: list[str] = []
    monkeypatch.setattr(bundle, "run_and_explain", lambda *command: ran.append(" ".join(command)))
    bundle.download(tmp_path / "wheels", "x.lock", [*names])
    return ran


def test_pip_downloads_only_files_that_uv_selected(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip alone would take the highest version of any index. Offline, uv asks no index."""
    select, fetch = downloads(program, tmp_path, monkeypatch, "humanize")
    assert select.startswith("uv pip compile") and "--generate-hashes" in select and "--no-index" not in select
    assert fetch.startswith("pip download") and "--no-deps --require-hashes" in fetch
    selected = re.findall(r"--output-file (\S+)", select)
    assert selected and fetch.endswith(f"--requirement {selected[0]}")
    program.BUNDLE.mkdir()
    (program.BUNDLE / "SHA256SUMS").touch()
    assert "--no-index" in downloads(program, tmp_path, monkeypatch, "humanize")[0]


def test_an_option_is_no_package_of_a_bundle(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert downloads(program, tmp_path, monkeypatch) == []
    with pytest.raises(SystemExit, match="labdock: '--index-url=evil' is not a package name"):
        downloads(program, tmp_path, monkeypatch, "humanize", "--index-url=evil")


def test_constraints_are_the_versions_of_a_lock(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load("bundle")
    monkeypatch.setattr(bundle, "LOCKS", tmp_path)
    lock = "a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n"
    (tmp_path / "x.lock").write_text(lock)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert Path(bundle.constraints("x.lock")).read_text() == "a==1 ; sys_platform == 'win32'\nb==2"


# --- packages from an address -------------------------------------------------------------------------
def test_a_restored_project_takes_a_package_from_an_address_out_of_the_bundle(
    program: ModuleType, tmp_path: Path
) -> None:
    """The file with the right hash counts, not its name. The control: a file with another hash stays an address."""
    (program.BUNDLE / "wheels").mkdir(parents=True)
    (program.BUNDLE / "wheels/saved-1.tar.gz").write_bytes(b"archive")
    digest = hashlib.sha256(b"archive").hexdigest()
    entry = "{} @ https://f.example/{}.tar.gz \\\n    --hash=sha256:{}\n"
    lock = entry.format("a", "a", digest) + entry.format("b", "b", "0" * 64) + "c==1 \\\n    --hash=sha256:11\n"
    (tmp_path / "requirements.lock").write_text(lock)
    (tmp_path / "copy").mkdir()
    copy = Path(program.with_bundled_files(tmp_path / "requirements.lock", tmp_path / "copy")).read_text()
    assert copy == lock.replace("https://f.example/a.tar.gz", f"file://{program.BUNDLE}/wheels/saved-1.tar.gz")
