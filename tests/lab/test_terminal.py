"""Terminals: their programs, and output without end."""

import json
from pathlib import Path

import pytest
import websocket

from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until

PROGRAMS = {"curl", "git", "jupyter", "less", "nano", "ps", "ssh", "top", "unzip", "wget"}
COMPILERS = {"cc", "gcc", "g++", "ld", "make"}


def test_terminals_have_small_programs_and_no_compiler(lab: Project) -> None:
    """Git shows a long history with a pager, and opens a message in an editor."""
    programs = PROGRAMS | COMPILERS | {"$(git var GIT_PAGER)", "$(TERM=xterm git var GIT_EDITOR)"}
    found = lab.shell(f'for name in {" ".join(sorted(programs))}; do command -v "$name" && echo "$name"; done || true')
    assert set(found.split()) >= PROGRAMS | {"pager", "editor"}
    assert not set(found.split()) & COMPILERS


LARGE = 200 << 20  # bytes, more than sockets and browsers hold


@pytest.mark.full
@pytest.mark.parametrize(
    "guarded",
    [True, pytest.param(False, marks=pytest.mark.nightly)],
    ids=["as delivered", "the control: the server does not wait"],
)
@pytest.mark.attack(
    "Print without end in a terminal whose browser does not read", "The program waits. The server's memory stays low."
)
def test_an_endless_output_waits_for_the_browser(lab: Project, tmp_path: Path, guarded: bool) -> None:
    text, guard = lab.read("lab/server/lab_terminals.py"), "await self.be_sent()"
    assert guard in text
    layer = with_server(lab, tmp_path, "lab_terminals.py", text if guarded else text.replace(guard, "pass"))
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        running = twin.client()
        name = running.request("POST", "terminals").json()["name"]
        url = f"{running.address.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={running.token}"
        page = websocket.create_connection(url, timeout=30, origin=running.address)
        page.send(json.dumps(["stdin", "exec yes\r"]))

        def written() -> int:
            return int(twin.shell("sed -n 's/^wchar: //p' /proc/$(pgrep -x yes || echo self)/io"))

        seen = [0]

        def waits() -> bool:
            seen.append(written())
            return seen[-1] < seen[-2] + (1 << 18) and seen[-2] > 1000

        if guarded:
            until(waits, "the program waits")
        else:
            until(lambda: written() > LARGE, "the program fills the server's memory")
        assert seen[-1] < LARGE
        assert running.request("GET", "status").status_code == 200
        page.close()
