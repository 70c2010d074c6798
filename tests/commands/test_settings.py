"""Settings: the commands read them as Compose does, and the defaults are the same everywhere."""

import json
import re

import pytest

from tests.support.project import Project

LINES = [
    "LAB_UID=1234",
    "LAB_UID = 1234",
    "  LAB_UID=1234  ",
    "export LAB_UID=1234",
    "LAB_UID='1234'",
    'LAB_UID="1234" # mine',
    "LAB_UID=1234 # mine",
    "LAB_UID=1234\r",
    "LAB_UID=1\nLAB_UID=1234",
    "\ufeffLAB_UID=1234",
    "OTHER=1234\nLAB_UID=${OTHER}",
    "LAB_UID=",
    "LAB_UID=''",
    "#LAB_UID=1234",
    "MY_LAB_UID=1234",
    "LAB_UID=1#2",
]


def seen(project: Project) -> tuple[str, str]:
    """LAB_UID as the commands read it, and as Compose puts it into compose.yaml."""
    script = project.run("sh", "-c", ". lab/commands/lib/all.sh; setting LAB_UID").stdout.strip()
    return script, project.config()["services"]["lab"]["user"].split(":")[0]


def test_a_backslash_does_not_cut_a_message(project: Project) -> None:
    """The `echo` of some shells reads \\c as the end of the text."""
    said = project.run("sh", "-c", r". lab/server/setting_rules.sh; username_problem 'CORP\carol'").stdout
    assert said.startswith(r"JUPYTER_USERNAME is 'CORP\carol', not a user name.") and said.endswith(" and '-'.\n")


@pytest.mark.parametrize("lines", LINES)
def test_commands_read_what_compose_reads(engine: None, project: Project, lines: str) -> None:
    (project.folder / ".env").write_bytes(f"{lines}\n".encode())
    script, compose = seen(project)
    assert script == compose
    assert script == ("1000" if lines in LINES[-5:-1] else "1#2" if "1#2" in lines else "1234")


@pytest.mark.parametrize("value", ["5", ""])
def test_the_shell_comes_before_the_file(engine: None, project: Project, value: str) -> None:
    (project.folder / ".env").write_text("LAB_UID=1234\n")
    project.environment["LAB_UID"] = value
    assert seen(project) == (value or "1000",) * 2


def test_the_defaults_of_sample_env_are_those_of_compose_yaml(engine: None, project: Project) -> None:
    """`setting` takes a default from sample.env. The control is a changed default."""
    without = project.config()
    (project.folder / ".env").write_text(project.read("sample.env"))
    assert project.config() == without
    names = re.findall(r"^(\w+)=.", project.read("sample.env"), re.MULTILINE)
    assert {"LAB_UID", "JUPYTER_USERNAME", "LAB_UMASK", "JUPYTER_UI", "LAB_MEMORY", "LAB_CPUS"} <= set(names)
    for name in names:
        value = "127.0.0.7" if name == "JUPYTER_BIND" else "7"
        project.set_env(**{name: value})
        assert project.config() != without, name
        (project.folder / ".env").write_text(project.read("sample.env"))


@pytest.mark.parametrize(
    ("cpus", "percent", "quota"), [("", "", 200000), ("3", "", 300000), ("2", "150", 150000), ("1.5", "5", 5000)]
)
def test_a_cpu_limit_may_be_a_fraction(engine: None, project: Project, cpus: str, percent: str, quota: int) -> None:
    project.set_env(LAB_CPUS=cpus, LAB_CPU_PERCENT=percent)
    assert {service["cpu_quota"] for service in project.config()["services"].values()} == {quota}
    assert project.run("sh", "-c", ". lab/commands/lib/all.sh; check_limits").stdout == ""


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("4g", 4 * 2**30), ("1.5G", 3 * 2**29), ("800mb", 800 * 2**20), ("64k", 65536), ("100b", 100), ("0.5b", 0),
        ("0g", 0), ("lots", 0), ("4", 0), ("-4g", 0), ("4gg", 0), ("9999999999999g", 2**60),
    ],
)  # fmt: skip
def test_sizes_in_bytes(project: Project, size: str, number: int) -> None:
    assert project.run("sh", "-c", f". lab/commands/lib/all.sh; bytes {size}").stdout == f"{number}\n"


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        *[(name, True) for name in ("jovyan", "Ada.L-1_", "0x", ".ada", "a" * 32)],
        *[(name, False) for name in ("", "root", ".", "..", "1234", "-ada", "a b", "x:y", "a/b", "ä", "a" * 33)],
        *[(name, False) for name in ("ada\n", "ada\n../x", "\nada")],
    ],
)
def test_user_names(project: Project, name: str, valid: bool) -> None:
    """Host and container use the same rule. It does not depend on the caller's locale."""
    for language in ("C", "C.UTF-8"):
        project.environment["LC_ALL"] = language
        printed = project.run("sh", "-euc", '. lab/server/setting_rules.sh; username_problem "$1"', "sh", name).stdout
        assert (printed == "") is valid


@pytest.mark.parametrize("line", ["LAB_NAME=mine", "LAB_NAME=", ""])
def test_commands_know_the_names_of_the_images(engine: None, project: Project, line: str) -> None:
    (project.folder / ".env").write_text(f"{line}\n")
    services = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    for name in ("lab", "packages", "bundle"):
        said = project.run("sh", "-euc", f". lab/commands/lib/all.sh; image {name}").stdout
        assert said == f"{services[name]['image']}\n"


def test_no_script_asks_compose_for_the_image_of_one_service(rendered: Project) -> None:
    """`docker compose config --images SERVICE` also prints the images of other services, in any order.

    These are the services that SERVICE depends on.
    """
    asked = re.compile(r"config --images +[^|\s]")
    for path in ("lab/commands/*.sh", "tests/*.py", ".github/workflows/*.yml"):
        files = list(rendered.folder.glob(path))
        assert files and [file.name for file in files if asked.search(file.read_text())] == []
    assert asked.search("image=$(docker compose config --images lab | head -n 1)")


LOCAL = "localhost,127.0.0.1,::1"
PROXIES = {"HTTP_PROXY": "http://proxy:1", "HTTPS_PROXY": "http://proxy:2", "NO_PROXY": "here"}


@pytest.mark.parametrize("names", [[], *([name] for name in PROXIES), ["HTTP_PROXY", "HTTPS_PROXY"], [*PROXIES]])
def test_only_a_proxy_that_is_set_reaches_builds_and_the_lab(engine: None, project: Project, names: list[str]) -> None:
    """An empty variable would switch off the proxy of Docker's client. Each variable has both its names."""
    project.environment |= dict.fromkeys(PROXIES, "") | {name: PROXIES[name] for name in names}
    expected = {name: PROXIES[name] for name in names if name != "NO_PROXY"}
    if names:
        expected["NO_PROXY"] = f"{LOCAL},here" if "NO_PROXY" in names else LOCAL
    services = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    for service in ("lab", "packages"):
        found = services[service].get("environment") or {}
        proxies = {name: value for name, value in found.items() if name.lower().endswith("_proxy")}
        assert proxies == expected | {name.lower(): value for name, value in expected.items()}
    for service in ("lab", "packages", "bundle"):
        arguments = services[service]["build"]["args"]
        assert {name: value for name, value in arguments.items() if "_PROXY" in name.upper()} == expected
    assert not [name for name in services["prepare"]["environment"] if "_PROXY" in name.upper()]


@pytest.mark.parametrize("file", ["", "site.pem"])
def test_the_certificates_reach_the_lab_only_if_they_are_set(engine: None, project: Project, file: str) -> None:
    """The service `packages` has no file with all certificates."""
    project.environment["LAB_CA_BUNDLE"] = file
    services = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    assert ("SSL_CERT_FILE" in services["lab"]["environment"]) is bool(file)
    assert "SSL_CERT_FILE" not in (services["packages"].get("environment") or {})
    assert services["lab"]["build"]["args"]["PYTHON_IMAGE"]  # the services still get what `make pin` writes
