"""setting_rules.sh (the shell) and jupyter_server_config.py (the server) accept the same tokens."""

import json

import pytest

from tests.support.project import Project

GOOD = "0123456789abcdef" * 2
TOKENS: dict[str, tuple[bytes, bool]] = {
    "as short as allowed": (GOOD.encode(), True),
    "newline": (f"{GOOD}\n".encode(), True),
    "byte order mark, white space, CRLF": (f"\ufeff \t{GOOD}  \r\n\r\n".encode(), True),
    "every plain character": (bytes(range(33, 127)), True),
    "words": (b"correct horse battery staple correct horse", True),
    "empty": (b"", False),
    "white space": (b" \r\n" * 20, False),
    "31 characters": (GOOD[1:].encode(), False),
    "31 characters and a space": (b"a " + GOOD[2:].encode(), False),
    "umlaut": (f"{GOOD}ä".encode(), False),
    "no-break space": (f"{GOOD}\u00a0".encode(), False),
    "UTF-16": (GOOD.encode("utf-16"), False),
    "no text": (b"\xff\xfe" * 40, False),
    "control character": (f"{GOOD}\x1c".encode(), False),
    "null": (f"{GOOD}\0".encode(), False),
}
# Runs in the lab: each token is put where the server reads it.
JUDGE = """
import builtins, json, pathlib, subprocess, sys

source = pathlib.Path("/opt/labdock/jupyter_server_config.py").read_text()
rule = source[source.index("token = Path") : source.index("c.IdentityProvider.token")]
found = {}
for name, content in json.load(sys.stdin).items():
    file = pathlib.Path("/tmp/token")
    file.write_bytes(bytes(content))
    check = '. /opt/labdock/setting_rules.sh; token_problem "$1"'
    said = subprocess.run(["sh", "-c", check, "sh", file], capture_output=True, text=True, check=True).stdout
    try:
        exec(rule, {"Path": lambda _: file})
        server = True
    except SystemExit:
        server = False
    found[name] = [not said, server]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def judged(lab: Project) -> dict[str, list[bool]]:
    """What the shell and the server say about each token."""
    given = json.dumps({name: list(content) for name, (content, _) in TOKENS.items()})
    command = ("docker", "compose", "exec", "--no-TTY", "lab", "python", "-c", JUDGE)
    return json.loads(lab.run(*command, input=given).stdout)


@pytest.mark.parametrize("name", TOKENS)
def test_both_rules_agree(judged: dict[str, list[bool]], name: str) -> None:
    assert judged[name] == [TOKENS[name][1]] * 2


def test_the_host_uses_the_rules_of_the_image(lab: Project) -> None:
    """The commands read lab/server/setting_rules.sh, and the image holds the same file."""
    rules = lab.read("lab/server/setting_rules.sh")
    assert lab.shell("cat /opt/labdock/setting_rules.sh") == rules
    assert ". lab/server/setting_rules.sh" in lab.read("lab/commands/lib/all.sh")
