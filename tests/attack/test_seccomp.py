"""A notebook makes system calls that no notebook needs."""

import base64
import json
import platform
import re
import subprocess
import zipapp
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.support.hardening import PROFILE
from tests.support.project import Project

RUN = "base64 -d >/tmp/calls && exec /opt/venv/bin/python /tmp/calls"
Results = dict[str, dict[str, str | None]]
Profile = dict[str, Any]


def expected(name: str) -> set[str]:
    """The results of a refused call: EPERM if the profile names the call, ENOSYS if not.

    32-bit and x32 calls end the program.
    """
    if "-bit call" in name or "x32" in name:
        return {"SIGSYS", "SIGSEGV"}  # the second from a Linux kernel without 32-bit calls
    unnamed = ("clone", "mbind", "a netlink", "a personality")
    return {"ENOSYS"} if name.startswith(unnamed) else {"EPERM"}


def packed() -> str:
    """The program in calls/ as one archive that Python can run."""
    archive = BytesIO()
    zipapp.create_archive(Path(__file__).with_name("calls"), archive)
    return base64.b64encode(archive.getvalue()).decode()


@pytest.fixture(scope="module")
def results(lab: Project) -> Results:
    """The result of each call, made by a notebook kernel of the shared lab."""
    program = f"""
import subprocess
command = ["sh", "-c", {RUN!r}]
print(subprocess.run(command, input={packed()!r}, text=True, capture_output=True, check=True).stdout)
"""
    return json.loads(lab.client().run(program))


def only_intel() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("this processor has no other kind of call")


def surprising(results: Results, *words: str) -> dict[str, str | None]:
    """The calls with one of `words` in their names that were not refused as expected."""
    calls = {name: seen for name, seen in results["refused"].items() if any(word in name for word in words)}
    assert calls
    return {name: seen for name, seen in calls.items() if seen not in expected(name)}


@pytest.mark.attack(
    "Open sockets of AF_ALG, AF_VSOCK, AF_PACKET and every other family. Also add bits to the "
    "number of the family. The Linux kernel ignores these bits",
    "Refused. Only AF_UNIX, AF_INET, AF_INET6 and the netlink protocol that lists network addresses are allowed.",
)
def test_rare_sockets_are_refused(results: Results) -> None:
    assert surprising(results, "socket") == {}


@pytest.mark.attack("Call clone for each kind of new namespace", "Refused.")
def test_new_namespaces_are_refused(results: Results) -> None:
    assert surprising(results, "clone") == {}


@pytest.mark.attack(
    "Make 32-bit and x32 system calls. The rules for 64-bit calls do not apply to these calls",
    "The Linux kernel ends the program.",
)
def test_calls_of_another_kind_end_the_program(results: Results) -> None:
    only_intel()
    assert surprising(results, "32") == {}


@pytest.mark.attack(
    "Make 49 more system calls: mounts, file handles, kernel keyrings, io_uring, eBPF, modules, clock, reboot",
    "Refused.",
)
def test_every_call_is_refused(results: Results) -> None:
    assert surprising(results, "") == {}


def test_calls_of_ordinary_programs_are_allowed(results: Results) -> None:
    """A control too: a profile that refuses every call would pass the tests above, but not this one."""
    assert {name: seen for name, seen in results["work"].items() if seen} == {}


def under(lab: Project, folder: Path, profile: Profile | str) -> Results | None:
    """The results in a container like the lab's, but with another `profile`. None if it cannot start."""
    if not isinstance(profile, str):
        (folder / "profile.json").write_text(json.dumps(profile))
        profile = str(folder / "profile.json")
    options = ("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--security-opt=seccomp={profile}")
    place = ("--init", "--read-only", "--tmpfs=/tmp", "--user=1000:1000", "--entrypoint=sh", lab.container()["Image"])
    command = ["docker", "run", "--rm", "--interactive", *options, *place, "-c", RUN]
    done = subprocess.run(command, input=packed(), text=True, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


# The Linux kernel allows these to every user. Only the filter can refuse them.
FREE = {
    "name_to_handle_at", "keyctl", "add_key", "adjtimex", "clock_adjtime", "clone3", "mbind",
    "an AF_ALG socket", "an AF_VSOCK socket", "an AF_ALG socket behind high bits",
    "an AF_VSOCK socket behind high bits", "a socket of another domain", "a pair of sockets of another domain",
    "a netlink socket that asks for more than addresses", "a personality without random addresses",
}  # fmt: skip


def test_the_attempts_are_real(lab: Project, tmp_path: Path) -> None:
    """The control: without a filter, these calls succeed or fail with an error of the Linux kernel's own."""
    seen = under(lab, tmp_path, "unconfined")
    assert seen is not None
    assert {name for name in FREE if seen["refused"][name] in expected(name)} == set()
    assert {name: error for name, error in seen["work"].items() if error} == {}


# --- each rule of the profile matters ----------------------------------------------------------------
RULES = {rule["comment"]: number for number, rule in enumerate(PROFILE["syscalls"])}
# `make test` tries the most important rules, `make test-full` the others.
WORST = ("New processes", "and no others", "Refused", "parts of the kernel")
# If one of these rules is removed, no program starts. If another rule is removed, the result of a call changes.
TO_START = {
    "Files and folders", "Memory", "Processes, threads and signals", "New processes and threads, but no new namespace",
    "Who and where a process is",
}  # fmt: skip


def test_an_unchanged_profile_gives_the_same(lab: Project, tmp_path: Path, results: Results) -> None:
    """The control of the mutants."""
    assert under(lab, tmp_path, PROFILE) == results


@pytest.mark.parametrize(
    "comment",
    [pytest.param(c, id=c[:30], marks=() if c.startswith(WORST) else pytest.mark.full) for c in RULES],
)
def test_a_removed_rule_is_noticed(lab: Project, tmp_path: Path, results: Results, comment: str) -> None:
    """The control of the tests of refused and of allowed calls: without a rule, the results differ."""
    profile = deepcopy(PROFILE)
    del profile["syscalls"][RULES[comment]]
    seen = under(lab, tmp_path, profile)
    assert (seen is None) is (re.split("[(;]", comment)[0].strip() in TO_START)
    assert seen != results


def unconditional(comment: str) -> Profile:
    """The rule whose comment starts with this text, without its last condition."""
    profile = deepcopy(PROFILE)
    (rule,) = (rule for rule in profile["syscalls"] if rule["comment"].startswith(comment))
    del rule["args"][-1]
    return profile


def with_domain(domain: int) -> Profile:
    """Allow sockets of one more family."""
    rules = [rule for rule in PROFILE["syscalls"] if not rule["comment"].startswith("and no others")]
    allow = {"action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": domain, "op": "SCMP_CMP_EQ"}]}
    return {**PROFILE, "syscalls": [*rules, {"names": ["socket"], **allow}]}


def with_32_bit_calls() -> Profile:
    """Allow 32-bit calls. libseccomp cannot apply the rules for sockets to 32-bit calls, so they are left out."""
    rules = [rule for rule in PROFILE["syscalls"] if not {"socket", "socketpair"} & set(rule["names"])]
    return {**PROFILE, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": rules}


LOOSENED: dict[str, tuple[Profile, str]] = {
    "AF_ALG": (with_domain(38), "an AF_ALG socket"),
    "AF_VSOCK": (with_domain(40), "an AF_VSOCK socket"),
    "netlink": (unconditional("asking for one's own addresses"), "a netlink socket that asks for more than addresses"),
    "namespaces": (unconditional("New processes"), "clone into a new user namespace"),
    "personality": (unconditional("Asking for the personality"), "a personality without random addresses"),
    "32-bit": (with_32_bit_calls(), "a 32-bit call"),
    "default": ({**PROFILE, "defaultAction": "SCMP_ACT_ALLOW"}, "mbind"),
}
OFTEN = {"AF_ALG", "namespaces", "32-bit", "default"}  # `make test` runs these, `make test-full` the others


@pytest.mark.parametrize("name", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.full) for n in LOOSENED])
def test_a_looser_rule_is_noticed(lab: Project, tmp_path: Path, name: str) -> None:
    """The control of the refused calls: a changed profile allows the call."""
    if name == "32-bit":
        only_intel()
    profile, call = LOOSENED[name]
    seen = under(lab, tmp_path, profile)
    assert seen is not None
    assert seen["refused"][call] not in expected(call)
