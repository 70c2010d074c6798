"""The lab runs as an ordinary user, and its files belong to the person on the host."""

import os

import pytest
from testinfra.host import Host

from tests.support.hardening import confined, security_options
from tests.support.project import Project

MOUNTS = ["data", "notebooks"]


def status(host: Host) -> dict[str, str]:
    """/proc/1/status: what the Linux kernel says of the first process."""
    lines = host.check_output("cat /proc/1/status").splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def test_nothing_runs_as_root(host: Host) -> None:
    # While the engine starts a command in the container, such as the health check, this process is still root.
    looks = [host.check_output("stat -c '%n %u' /proc/[0-9]* 2>/dev/null || true").splitlines() for _ in range(3)]
    assert {line.split()[1] for line in set(looks[0]).intersection(*looks)} == {"1000"}
    assert host.check_output("id -u") == "1000"
    assert host.check_output("id -g") == "1000"


def test_no_capability_is_left(host: Host) -> None:
    seen = status(host)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[kind], 16) == 0, kind
    assert seen["NoNewPrivs"] == "1"
    assert seen["Seccomp"] == "2"  # a filter


def test_a_process_with_capabilities_is_noticed(lab: Project) -> None:
    """The control: the same user in a container without these lines of compose.yaml."""
    options = ("--rm", "--user=1000:1000", "--security-opt=seccomp=unconfined", "--entrypoint=cat")
    lines = lab.run("docker", "run", *options, lab.container()["Image"], "/proc/1/status").stdout.splitlines()
    seen = dict(line.split(":\t", 1) for line in lines)
    assert int(seen["CapBnd"], 16) != 0
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("0", "0")


def test_apparmor_confines_the_process_if_the_engine_has_it(lab: Project, host: Host) -> None:
    """Its control is test_a_lab_without_apparmor_is_noticed."""
    profile = host.check_output("cat /proc/1/attr/current 2>/dev/null || true")
    assert confined(security_options(lab), profile.removesuffix(" (enforce)"))


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_file_written_by_a_kernel_belongs_to_the_host_user(lab: Project, mount: str) -> None:
    lab.client().run(f"from pathlib import Path; (Path.home() / '{mount}/from-kernel').write_text('hello')")
    written = lab.folder / mount / "from-kernel"
    owner = (lab.folder / mount).stat()
    assert written.read_text() == "hello"
    assert (written.stat().st_uid, written.stat().st_gid) == (owner.st_uid, owner.st_gid)
    assert written.stat().st_uid != 0
    written.unlink()


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_kernel_changes_the_hosts_files(lab: Project, mount: str) -> None:
    file = lab.folder / mount / "from-host"
    file.write_text("before")
    owner = (lab.folder / mount).stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    lab.client().run(f"from pathlib import Path; (Path.home() / '{mount}/from-host').write_text('after')")
    assert file.read_text() == "after"
    file.unlink()


ROOT_OPTIONS = "awk '$2 == \"/\" {print $4}' /proc/mounts"


def test_the_root_is_read_only(host: Host) -> None:
    assert host.check_output(ROOT_OPTIONS).startswith("ro,")


def test_a_root_that_can_be_written_is_noticed(lab: Project) -> None:
    """The control: the same image without that line of compose.yaml."""
    options = ("--rm", "--entrypoint=sh", lab.container()["Image"], "-c", ROOT_OPTIONS)
    assert lab.run("docker", "run", *options).stdout.startswith("rw,")


# By owner and mode: on a read-only root filesystem nothing can be written anyway.
NOT_ONLY_ROOTS = "find /opt /etc /usr /bin /lib ! -type l '(' ! -uid 0 -o -perm /022 ')' 2>/dev/null || true"


def test_the_user_can_write_neither_environment_nor_configuration(host: Host) -> None:
    assert host.check_output(NOT_ONLY_ROOTS) == ""


def test_a_file_that_the_user_can_write_is_noticed(lab: Project) -> None:
    """The control: one file belongs to another user, and everybody can write another one."""
    spoil = "cd /opt/labdock; chown 1000 contents.py; chmod o+w entrypoint.sh"
    options = ("--rm", "--user=0:0", "--entrypoint=sh", lab.container()["Image"])
    found = lab.run("docker", "run", *options, "-c", f"{spoil}; {NOT_ONLY_ROOTS}").stdout.split()
    assert sorted(found) == ["/opt/labdock/contents.py", "/opt/labdock/entrypoint.sh"]


def test_every_tmpfs_is_limited(host: Host) -> None:
    """Including those that the engine makes by itself."""
    writable = 'while read -r from path rest; do [ -d "$path" ] && [ -w "$path" ] && echo "$from $path $rest"; done'
    mounts = host.check_output(f"{writable} </proc/mounts || true")
    assert {"/tmp", "/dev/shm", "/dev/mqueue"} <= {line.split()[1] for line in mounts.splitlines()}
    assert unlimited(mounts) == set()


@pytest.mark.parametrize("option", ["nosuid", "nodev", "size=65536k"])
def test_a_tmpfs_without_a_limit_is_noticed(option: str) -> None:
    line = "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k,inode64 0 0\n"
    assert unlimited(line) == set()
    assert unlimited(line.replace(f",{option}", "")) == {"/dev/shm"}


def unlimited(mounts: str) -> set[str]:
    """The paths of file systems in memory that lack a limit; `mounts` is the text of /proc/mounts."""
    found = set()
    for _, path, kind, options, *_ in map(str.split, mounts.splitlines()):
        limits = {"nosuid", "nodev", "size"} - ({"size"} if kind == "mqueue" else set())
        if kind in ("tmpfs", "mqueue") and not limits <= {option.partition("=")[0] for option in options.split(",")}:
            found.add(path)
    return found
