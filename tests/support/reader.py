"""Somebody who types what a page says: an ordinary user with a home, block after block, to the last one.

What cannot be done for the sake of a test is done by stand-ins, first on PATH, that still read every argument: `ssh`
parses them and connects nowhere, `sudo apt-get` finds the packages and installs none, `pipx` installs below the home.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "https://git.example/labdock.git"  # what the docs call this repository
NOBODY = "nobody"  # whom root types as: an ordinary user that every machine has
STANDINS = {
    "ssh": 'exec "{ssh}" -G "$@" >>"$HOME/ssh.log"',
    "sudo": """[ "$1" = apt-get ] || {{ echo "no stand-in for: $*" >&2; exit 1; }}
shift
[ "$1" = update ] || set -- --simulate "$@"
mkdir -p "$HOME/apt/lists/partial" "$HOME/apt/archives/partial"
exec apt-get -o Dir::State::Lists="$HOME/apt/lists" -o Dir::Cache="$HOME/apt" "$@" """,
    "pipx": """[ "$1" = install ] && shift || exit 0
[ -d "$HOME/pipx" ] || python3 -m venv "$HOME/pipx"
"$HOME/pipx/bin/pip" install --quiet --disable-pip-version-check "$@"
mkdir -p "$HOME/.local/bin"
ln -sf "$HOME/pipx/bin/$1" "$HOME/.local/bin/\"""",
}
GITCONFIG = '[user]\nuseConfigOnly = true\n[safe]\ndirectory = *\n[url "{}"]\ninsteadOf = {}\n'


def blocks(text: str, language: str = "sh") -> list[str]:
    """The fenced blocks of a page in one language."""
    return [block for found, block in FENCE.findall(text) if found == language]


@dataclass
class Reader:
    """Types the `left` blocks into a shell that stands in `folder`, which is carried on from block to block."""

    left: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()  # what makes the shell somebody else's

    def type(self, until: str = "") -> str:
        """Type on, up to and with the block that holds `until`, or the last; what it all printed."""
        assert self.left and any(until in block for block in self.left), f"no block that holds {until!r} is left"
        printed = ""
        while self.left:
            block = self.left.pop(0)
            printed += self.run(block)
            if until and until in block:
                break
        return printed

    @property
    def home(self) -> Path:
        """Where their own settings lie."""
        return Path(self.environment["HOME"])

    def done(self) -> None:
        """Every block has been typed."""
        assert not self.left, f"a block is left out: {self.left}"

    def run(self, script: str) -> str:
        """Run a script where the last one ended; what it printed. It has to succeed."""
        ended = self.home / "pwd"
        done = subprocess.run(
            [*self.command, "sh", "-euc", f"{script}\npwd >'{ended}'"],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-5000:]}"
        self.folder = Path(ended.read_text().strip())
        return done.stdout


@dataclass
class Person:
    """An ordinary user: a home with stand-ins, and a copy of the template where the docs say it is."""

    home: Path
    template: Path
    environment: dict[str, str]
    command: tuple[str, ...]

    def read(self, text: str, folder: Path) -> Reader:
        """This person, with a page and in a folder of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        self.own(folder)
        return Reader(blocks(text), folder, self.environment, self.command)

    def project(self, folder: Path) -> Path:
        """A project of theirs with default answers, not started."""
        maker = self.read("", folder.parent)
        maker.run("command -v copier >/dev/null || pipx install copier")
        maker.run(f'copier copy --defaults --data project_name="Iris study" {ADDRESS} {folder.name}')
        return folder

    def own(self, folder: Path) -> None:
        """Make a folder theirs, where root made it."""
        if self.command:
            subprocess.run(["chown", "-R", NOBODY, folder], check=True)


@contextmanager
def person(template: Path) -> Iterator[Person]:
    """Whoever runs the tests, or `NOBODY` where that is root; all that is theirs is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="reader-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "stand-ins").mkdir()
        for name, script in STANDINS.items():
            (home / "stand-ins" / name).write_text(f"#!/bin/sh\nset -eu\n{script.format(ssh=shutil.which('ssh'))}\n")
            (home / "stand-ins" / name).chmod(0o755)
        copy = home / "labdock.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", template, copy], check=True)
        (home / ".gitconfig").write_text(GITCONFIG.format(copy, ADDRESS))
        (home / "copier.yml").write_text("{}\n")
        environment = {
            "HOME": folder,
            "PATH": f"{home}/stand-ins:{home}/.local/bin:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": f"{home}/.gitconfig",
            "COPIER_SETTINGS_PATH": f"{home}/copier.yml",
            "TMPDIR": "/tmp",
            "JUPYTER_PORT": "0",  # any free one
        }
        command: tuple[str, ...] = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            # The engine's socket is its group's.
            group = Path("/var/run/docker.sock").stat().st_gid
            command = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", f"--groups={group}")
        somebody = Person(home, copy, environment, command)
        somebody.own(home)
        yield somebody
