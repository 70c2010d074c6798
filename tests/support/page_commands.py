"""A reader who types all commands of a page, block by block, as an ordinary user with a home.

Some commands cannot run in a test. Stand-ins on the PATH replace these commands and check their arguments:

- `ssh` reads its arguments and connects to nothing.
- `scp` copies a file on this machine.
- `sudo apt-get` finds the packages and installs none.
- `pipx` installs programs into the home.
- `uvx` installs uv into the home, and answers Copier's questions.
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

from tools.address import CLONE, TEMPLATE

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOBODY = "nobody"  # if root runs the tests, this user types. Every machine has this user
STANDINS = {
    "ssh": 'exec "{ssh}" -G "$@" >>"$HOME/ssh.log"',
    "sudo": """[ "$1" = apt-get ] || {{ echo "no stand-in for: $*" >&2; exit 1; }}
shift
[ "$1" = update ] || set -- --simulate "$@"
mkdir -p "$HOME/apt/lists/partial" "$HOME/apt/archives/partial"
exec apt-get -o Dir::State::Lists="$HOME/apt/lists" -o Dir::Cache="$HOME/apt" "$@" """,
    # In the test, the reader's computer is also the machine that runs the lab. The current folder is the project.
    "scp": """[ $# = 2 ]
case $2 in *@*:*/) cp "$1" "./${{2#*:*/}}" ;; *) exit 1 ;; esac""",
    # Nobody is at the terminal to answer Copier's questions.
    "uvx": """[ -x "$HOME/uv/bin/uvx" ] || {{ python3 -m venv "$HOME/uv"; "$HOME/uv/bin/pip" install --quiet uv; }}
[ "$1 ${{2:-}}" != "copier copy" ] || set -- "$@" --defaults --data project_name="My lab"
exec "$HOME/uv/bin/uvx" "$@" """,
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
    """Types the `left` blocks into a shell in `folder`. Each block starts in the folder where the last one ended."""

    left: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()  # runs the shell as another user

    def type(self, until: str = "") -> str:
        """Type all blocks up to the one that contains `until`, or to the last. Return what they printed."""
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
        """The home of the user who types."""
        return Path(self.environment["HOME"])

    def done(self) -> None:
        """Every block has been typed."""
        assert not self.left, f"a block is left out: {self.left}"

    def run(self, script: str) -> str:
        """Run a script in the current folder and return what it printed. It must succeed."""
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
    """An ordinary user with stand-ins. Their git replaces the template's address with a copy of the template."""

    home: Path
    template: Path
    environment: dict[str, str]
    command: tuple[str, ...]

    def read(self, text: str, folder: Path) -> Reader:
        """This person, with a page to type, in a folder that belongs to them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.own(folder)
        return Reader(blocks(text), folder, self.environment, self.command)

    def project(self, folder: Path) -> Path:
        """A project of this user with default answers, which is not started."""
        maker = self.read("", folder.parent)
        maker.run("command -v copier >/dev/null || pipx install copier")
        maker.run(f'copier copy --defaults --data project_name="Iris study" {TEMPLATE} {folder.name}')
        return folder

    def own(self, folder: Path) -> None:
        """Give this user a folder that root created."""
        if self.command:
            subprocess.run(["chown", "-R", NOBODY, folder], check=True)


@contextmanager
def person(template: Path) -> Iterator[Person]:
    """The user who runs the tests, or `NOBODY` if that is root. Their home is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="reader-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "stand-ins").mkdir()
        for name, script in STANDINS.items():
            (home / "stand-ins" / name).write_text(f"#!/bin/sh\nset -eu\n{script.format(ssh=shutil.which('ssh'))}\n")
            (home / "stand-ins" / name).chmod(0o755)
        copy = home / "labdock.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", template, copy], check=True)
        (home / ".gitconfig").write_text(GITCONFIG.format(copy, CLONE))
        (home / "copier.yml").write_text("{}\n")
        environment = {
            "HOME": folder,
            "PATH": f"{home}/stand-ins:{home}/.local/bin:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": f"{home}/.gitconfig",
            "COPIER_SETTINGS_PATH": f"{home}/copier.yml",
            "COPIER_CACHE_DIR": f"{home}/templates",
            "TMPDIR": "/tmp",
            "JUPYTER_PORT": "0",  # any free port
        }
        if index := os.environ.get("PIP_INDEX_URL"):
            environment["UV_DEFAULT_INDEX"] = index  # uv does not read pip's settings
        command: tuple[str, ...] = ()
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            # The group of the engine's socket may use the engine.
            group = Path("/var/run/docker.sock").stat().st_gid
            command = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", f"--groups={group}")
        somebody = Person(home, copy, environment, command)
        somebody.own(home)
        yield somebody
