"""One command at a time changes a project. The others wait and say for whom."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.refusal import only_root
from tests.support.repository import ROOT
from tests.support.waiting import until

LOCK = ".lab.lock"
TAKE = "set -eu; . lab/commands/lib/one_at_a_time.sh; alone {name}; "
# Works only if no other process does the same at the same time.
SECTION = TAKE + "mkdir busy; cat calls >calls.new; echo done >>calls.new; mv calls.new calls; rmdir busy"
# What each target of the Makefile does with the project.
CHANGES = {
    "up",
    "down",
    "add",
    "remove",
    "sync",
    "extend",
    "lock",
    "bundle",
    "restore",
    "rotate",
    "reset",
    "pin",
    "sbom",
    "test",
}
CHANGES |= {"outdated"}  # works with the same temporary files as `add`


def started(project: Project, script: str) -> subprocess.Popen[str]:
    """A shell that runs the script, in a process group of its own, as `make` in a terminal has."""
    return subprocess.Popen(
        ["env", "--default-signal", "sh", "-c", script],  # nohup would make it ignore SIGHUP
        cwd=project.folder,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@contextmanager
def held(project: Project, name: str = "add") -> Iterator[subprocess.Popen[str]]:
    """A command that holds the lock until the end of the block."""
    holder = started(project, TAKE.format(name=name) + "echo held; read -r _ || true")
    assert holder.stdout and holder.stdout.readline() == "held\n"
    yield holder
    holder.communicate("\n", timeout=60)


def ended_pid() -> int:
    """The id of a process that has ended."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_a_command_waits_and_names_the_one_that_runs(project: Project) -> None:
    with held(project) as holder:
        waiting = started(project, TAKE.format(name="up") + "echo through")
        assert waiting.stderr and waiting.stdout
        said = waiting.stderr.readline()
        assert said.startswith(f"labdock: 'make add' (process {holder.pid} on {os.uname().nodename}) is changing")
        assert waiting.poll() is None
    out, more = waiting.communicate(timeout=60)
    assert (out, more) == ("through\n", ""), "it says so once"
    assert not (project.folder / LOCK).exists()


@pytest.mark.parametrize(
    "left", ["an ended process", *(pytest.param(x, marks=pytest.mark.full) for x in ("nothing", "an empty file"))]
)
def test_many_at_once_do_their_work_one_after_the_other(project: Project, left: str) -> None:
    """Also if they all find the lock of a command that was killed, even before it wrote its name."""
    (project.folder / "calls").write_text("")
    if left == "an ended process":
        (project.folder / LOCK).write_text(f"{ended_pid()} {os.uname().nodename} up\n")
    elif left == "an empty file":
        (project.folder / LOCK).touch()
        os.utime(project.folder / LOCK, (0, 0))
    several = [started(project, SECTION.format(name="up")) for _ in range(4)]
    said = [process.communicate(timeout=120)[1] for process in several]
    assert [process.returncode for process in several] == [0] * 4, said
    assert project.read("calls") == "done\n" * 4
    assert not list(project.folder.glob(f"{LOCK}*"))


def test_an_empty_lock_holds_for_a_minute(project: Project) -> None:
    """The command that has it may be about to write its name. The control is the empty file in the test above."""
    (project.folder / LOCK).touch()
    waiting = started(project, "sleep() { echo waits; command sleep 1; }; " + TAKE.format(name="up") + "echo through")
    assert waiting.stderr and waiting.stdout
    assert waiting.stderr.readline().startswith("labdock: another command is changing this project")
    assert [waiting.stdout.readline() for _ in range(3)] == ["waits\n"] * 3
    (project.folder / LOCK).unlink()
    assert waiting.communicate(timeout=60)[0].endswith("through\n")


def test_no_empty_lock_stays_on_a_full_disk(project: Project) -> None:
    """The next command would wait a minute for it. A command that only waited leaves the lock of the other one."""
    only_root()
    full = "mount -t tmpfs -o size=4k tmpfs data; cp -r lab/commands/lib/one_at_a_time.sh data 2>/dev/null || true; "
    script = TAKE.format(name="up").replace("alone", "cd data; alone") + f"test ! -s {LOCK}; echo held"
    private = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
    assert project.run(*private, f"{full}({script}); test ! -e data/{LOCK}", timeout=60).stdout == "held\n"
    (project.folder / LOCK).touch()
    waiting = started(project, TAKE.format(name="up"))
    assert waiting.stderr and waiting.stderr.readline().startswith("labdock: another command")
    os.killpg(waiting.pid, signal.SIGTERM)
    waiting.communicate(timeout=60)
    assert (project.folder / LOCK).exists()


def test_without_the_lock_two_at_once_fail(project: Project) -> None:
    """The control: the work in the test above is not possible at the same time."""
    (project.folder / "busy").mkdir()
    assert project.run("sh", "-c", SECTION.format(name="up"), check=False).returncode != 0


def test_a_lock_that_cannot_be_removed_is_named(project: Project) -> None:
    """A killed command left its lock, and the folder that removes locks. The next command says so and waits."""
    (project.folder / LOCK).write_text("99999999 " + os.uname().nodename + " add\n")
    (project.folder / f"{LOCK}.old").mkdir()
    waiting = started(project, TAKE.format(name="up") + "echo held")
    assert waiting.stderr and "press Ctrl-C and run 'rm -rf .lab.lock*'" in waiting.stderr.readline()
    (project.folder / f"{LOCK}.old").rmdir()
    assert waiting.communicate(timeout=60)[0] == "held\n"


def test_a_lock_of_another_machine_holds(project: Project) -> None:
    """Its process cannot be seen from here. The sentence names the command that removes the lock."""
    (project.folder / LOCK).write_text(f"{ended_pid()} elsewhere pin\n")
    waiting = started(project, TAKE.format(name="up") + "echo through")
    assert waiting.stderr
    said = waiting.stderr.readline()
    assert "'make pin' (process " in said and " on elsewhere)" in said
    assert waiting.poll() is None
    command = re.search(r"run '(rm [^']+)'", said)
    assert command
    project.run("sh", "-c", command[1])
    assert waiting.communicate(timeout=60)[0] == "through\n"


def test_a_script_that_becomes_another_keeps_its_lock(project: Project) -> None:
    """As `rotate` becomes `up`. The lock is gone when both have ended."""
    inner = project.folder / "inner.sh"
    inner.write_text(TAKE.format(name="up") + f"cat {LOCK}")
    said = project.run("sh", "-c", TAKE.format(name="rotate") + "exec sh inner.sh", timeout=60).stdout
    assert said.endswith(" rotate\n")
    assert not (project.folder / LOCK).exists()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_no_lock(project: Project, signal_: signal.Signals) -> None:
    with held(project) as holder:
        os.killpg(holder.pid, signal_)
        until(lambda: holder.poll() is not None, "the command ends")
    assert not (project.folder / LOCK).exists()


def test_an_interrupted_command_leaves_the_lock_of_another(project: Project) -> None:
    with held(project):
        waiting = started(project, TAKE.format(name="up"))
        assert waiting.stderr and waiting.stderr.readline()
        os.killpg(waiting.pid, signal.SIGINT)
        waiting.communicate(timeout=60)
        assert project.read(LOCK).endswith(" add\n")


def test_in_a_folder_that_cannot_be_written_a_command_goes_on(project: Project) -> None:
    only_root()
    for folder in (project.folder, *project.folder.parents):
        if folder.stat().st_mode & 0o5 != 0o5:
            folder.chmod(0o755)
    somebody = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups")
    script = TAKE.format(name="down") + "echo through"
    assert project.run(*somebody, "sh", "-c", script, timeout=60).stdout == "through\n"


# --- the commands -----------------------------------------------------------------------------------
def scripts() -> dict[str, str]:
    """Target -> the script that the Makefile runs."""
    makefile = (ROOT / "template/Makefile").read_text()
    found = re.findall(r"^(\w+):.*\n\t@sh (lab/commands/\S+)", makefile, re.MULTILINE)
    return {target: (ROOT / "template" / path).read_text() for target, path in found}


def lacking(target: str, script: str) -> str:
    """What a script lacks that has to hold the lock; empty if it lacks nothing."""
    named = r'"\$1"' if target in ("add", "remove", "sync", "extend", "lock", "outdated") else target
    taken = re.search(rf"^alone {named}$", script, re.MULTILINE)
    if not taken:
        return "no lock"
    exits = re.findall(r"^trap '?(.*?)'? EXIT$", script, re.MULTILINE)
    functions = dict(re.findall(r"^(\w+)\(\) \{\n(.*?)^\}", script, re.MULTILINE | re.DOTALL))
    return "" if all("unlock" in functions.get(each, each) for each in exits) else "a trap without unlock"


def test_every_command_that_changes_the_project_holds_the_lock() -> None:
    found = scripts()
    assert found.keys() >= CHANGES
    assert {target: lack for target in CHANGES if (lack := lacking(target, found[target]))} == {}
    others = {target for target in found.keys() - CHANGES if "alone" in found[target]}
    assert others == set()


@pytest.mark.parametrize("target", sorted(CHANGES))
def test_a_command_without_the_lock_is_noticed(target: str) -> None:
    script = scripts()[target]
    assert lacking(target, re.sub("^alone .*\n", "", script, flags=re.MULTILINE)) == "no lock"
    if " EXIT" in script:
        assert lacking(target, script.replace("unlock", "true"))


def test_git_and_bundles_leave_the_lock_out(project: Project) -> None:
    (project.folder / LOCK).touch()
    project.commit()
    assert LOCK not in project.run("git", "ls-files").stdout.split()
    assert f"'./{LOCK}*'" in (Path(project.folder) / "lab/commands/lib/copy_project.sh").read_text()
