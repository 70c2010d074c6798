"""Which test answers each number of docker-bench-security, version 1.6, sections 4 (images) and 5 (containers).

The table is copied into docs/reference/attacks.md. docs/explanation/threat-model.md explains the other numbers.
"""

import re

import pytest

from tests.support.hardening import CHECKS, FILES, IMAGE
from tests.support.project import Project, Render
from tests.support.repository import ROOT
from tools import reference

# Number -> the requirement, the test of this requirement, and the check in that test, if it has several.
BENCH: dict[str, tuple[str, str, str]] = {
    "4.1": ("the image has a user", "test_the_image_passes_every_check", "a numeric user that is not root"),
    "4.2": ("a trusted base image", "test_the_dockerfile_uses_the_chosen_python", ""),
    "4.3": ("no unnecessary packages", "test_the_image_passes_every_check", "build tools"),
    "4.7": ("no layer that only updates package lists", "test_no_file_contains_what_the_check_forbids", ""),
    "4.8": ("no setuid and setgid files", "test_the_image_passes_every_check", "setuid or setgid files"),
    "4.9": ("COPY instead of ADD", "test_no_file_contains_what_the_check_forbids", ""),
    "4.10": ("no secrets in the Dockerfile", "test_no_file_contains_what_the_check_forbids", ""),
    "4.11": ("verified packages", "test_only_packages_with_a_locked_hash_are_installed", ""),
    "5.2": ("AppArmor", "test_apparmor_confines_the_lab_if_the_engine_has_it", ""),
    "5.3": ("SELinux", "test_a_running_container_passes_the_check", "AppArmor and SELinux are not turned off"),
    "5.4": ("few capabilities", "test_a_running_container_passes_the_check", "no capabilities"),
    "5.5": ("no privileged container", "test_a_running_container_passes_the_check", "not privileged"),
    "5.6": ("no mount of the host's system", "test_a_running_container_passes_the_check", "expected mounts only"),
    "5.7": ("no ssh server", "test_no_ssh_server_is_in_the_image", ""),
    "5.8": ("no privileged port", "test_the_port_needs_no_privilege", ""),
    "5.9": ("only the ports that are needed", "test_a_running_container_passes_the_check", "one port, on loopback"),
    "5.10": ("not the host's network", "test_a_running_container_passes_the_check", "no host namespaces"),
    "5.11": ("a memory limit", "test_a_running_container_passes_the_check", "limited memory"),
    "5.13": ("a read-only root filesystem", "test_a_running_container_passes_the_check", "read-only root"),
    "5.14": ("ports on one address of the host", "test_a_running_container_passes_the_check", "one port, on loopback"),
    "5.16": ("not the host's processes", "test_a_running_container_passes_the_check", "no host namespaces"),
    "5.17": ("not the host's IPC", "test_a_running_container_passes_the_check", "no host namespaces"),
    "5.18": ("no devices of the host", "test_a_running_container_passes_the_check", "no devices"),
    "5.19": ("limits for open files and core dumps", "test_a_running_container_passes_the_check", "limited open files"),
    "5.20": (
        "no shared mount propagation",
        "test_a_running_container_passes_the_check",
        "mounts that the host does not see",
    ),
    "5.21": ("not the host's UTS namespace", "test_a_running_container_passes_the_check", "no host namespaces"),
    "5.22": ("a seccomp profile", "test_a_running_container_passes_the_check", "the lab's seccomp profile"),
    "5.23": ("no privileged docker exec", "test_no_file_contains_what_the_check_forbids", ""),
    "5.24": ("no docker exec as root", "test_no_file_contains_what_the_check_forbids", ""),
    "5.25": ("the engine's own cgroup", "test_a_running_container_passes_the_check", "the engine's own cgroup"),
    "5.26": ("no new privileges", "test_a_running_container_passes_the_check", "no new privileges"),
    "5.27": ("a health check", "test_a_running_container_passes_the_check", "a health check that connects"),
    "5.29": ("a limit of processes", "test_a_running_container_passes_the_check", "limited processes"),
    "5.30": ("not the default bridge network", "test_a_running_container_passes_the_check", "a network of its own"),
    "5.31": ("not the host's user namespace", "test_a_running_container_passes_the_check", "no host namespaces"),
    "5.32": ("no engine socket", "test_a_running_container_passes_the_check", "expected mounts only"),
}
NUMBERS = {*(f"4.{number}" for number in range(1, 13)), *(f"5.{number}" for number in range(1, 33))}
COMMANDS = ("Makefile", "lab/commands/**/*.sh")
# By number: which files of a project must not match, and an example that does.
FORBIDDEN: dict[str, tuple[tuple[str, ...], str, str]] = {
    "4.7": (("Dockerfile",), r"^RUN .*\bapt(-get)? update\s*$", "RUN apt-get update\n"),
    "4.9": (("Dockerfile",), r"^ADD\b", "ADD x /\n"),
    "4.10": (
        ("Dockerfile",),
        r"^(ENV|ARG|LABEL)\b.*(?i:passw|token|secret|api_?key|credential)",
        "ENV DB_PASSWORD=x\n",
    ),
    "5.23": (COMMANDS, r"\bexec\b.*--privileged", "docker compose exec --privileged lab sh\n"),
    "5.24": (COMMANDS, r"\bexec\b(\s+--?[\w-]+)*\s+(-u|--user)\b", "docker compose exec --user 0 lab sh\n"),
}


@pytest.fixture(scope="module")
def project(render: Render) -> Project:
    return render()


def test_every_number_has_a_test_or_an_explanation() -> None:
    text = (ROOT / "docs/explanation/threat-model.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| (\d\.\d+) ", text, re.MULTILINE))
    assert BENCH.keys() | explained == NUMBERS
    assert BENCH.keys() & explained == set()


def unknown(table: dict[str, tuple[str, str, str]]) -> set[str]:
    """The tests and checks of a table that do not exist."""
    files = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    checks = CHECKS["server"].keys() | CHECKS["lab"].keys() | IMAGE.keys() | FILES.keys()
    wrong = {test for _, test, _ in table.values() if f"def {test}(" not in files}
    return wrong | {check for _, _, check in table.values() if check and check not in checks}


def test_the_tests_and_checks_exist() -> None:
    assert unknown(BENCH) == set()


def test_a_test_or_check_that_does_not_exist_is_noticed() -> None:
    table = {
        "4.1": ("", "test_nothing_at_all", ""),
        "4.2": ("", "test_a_running_container_passes_the_check", "no such check"),
    }
    assert unknown(table) == {"test_nothing_at_all", "no such check"}


def test_the_page_shows_each_number_with_its_test_and_check() -> None:
    row = 'BENCH: dict = {"4.1": ("a user", "test_x", "a check"), "4.2": ("a base", "test_y", "")}'
    assert reference.bench(row).endswith("| 4.1 | a user | `test_x`: a check |\n| 4.2 | a base | `test_y` |\n")
    with pytest.raises(ValueError, match="no BENCH"):
        reference.bench("")


# --- what no other test answers -----------------------------------------------------------------------
@pytest.mark.parametrize("number", FORBIDDEN)
def test_no_file_contains_what_the_check_forbids(project: Project, number: str) -> None:
    patterns, forbidden, example = FORBIDDEN[number]
    found = [path for pattern in patterns for path in project.folder.glob(pattern)]
    texts = [re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8")) for path in found]
    assert texts and not [text for text in texts if re.search(forbidden, text, re.MULTILINE)]
    # The control: the example is found at the end of each of them.
    assert all(re.search(forbidden, f"{text}{example}", re.MULTILINE) for text in texts)


def test_no_ssh_server_is_in_the_image(lab: Project) -> None:
    find = "find / -xdev -name sshd -type f 2>/dev/null || true"
    options = ("--rm", "--user=0:0", "--entrypoint=sh", lab.container()["Image"], "-c")
    assert lab.run("docker", "run", *options, find).stdout == ""
    # The control.
    assert lab.run("docker", "run", *options, f"touch /usr/sbin/sshd; {find}").stdout == "/usr/sbin/sshd\n"


def test_the_port_needs_no_privilege(engine: None, project: Project) -> None:
    (port,) = project.config()["services"]["server"]["ports"]
    assert int(port["published"]) >= 1024
