"""The server asks nobody for news or updates."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.project import Project
from tests.support.server_probes import get
from tests.support.variants import beside, with_server
from tests.support.waiting import until

CONFIG = "jupyter_server_config.py"
LINES = ("c.LabApp.news_url", "c.LabApp.check_for_updates_class")
# Prints the addresses that JupyterLab requests by default.
DEFAULTS = """
from jupyterlab.handlers.announcements import JUPYTERLAB_LAST_RELEASE_URL
from jupyterlab.labapp import LabApp
print(JUPYTERLAB_LAST_RELEASE_URL, LabApp.news_url.default_value)
"""
# A server in place of these hosts. It writes a line for each connection, then closes the connection.
SENTINEL = """
import pathlib, socket
seen = pathlib.Path("/tmp/seen")
with socket.create_server(("127.0.0.1", 443)) as server:
    seen.touch()
    while True:
        with server.accept()[0], seen.open("a") as file:
            file.write("asked\\n")
"""


@pytest.mark.full
@pytest.mark.parametrize("delivered", [True, False], ids=["as delivered", "without its lines"])
def test_the_server_asks_nobody_for_news(lab: Project, tmp_path: Path, delivered: bool) -> None:
    python = ("exec", "--no-TTY", "server", "/opt/jupyter/bin/python", "-I", "-c")
    hosts = {urlsplit(url).hostname: "127.0.0.1" for url in lab.compose(*python, DEFAULTS).stdout.split()}
    assert len(hosts) == 2
    text = "".join(line for line in lab.read(f"lab/server/{CONFIG}").splitlines(keepends=True)
                   if delivered or not line.startswith(LINES))  # fmt: skip
    layers = [{"services": {"server": {"extra_hosts": hosts}}}, with_server(lab, tmp_path, CONFIG, text)]
    with beside(lab, tmp_path, *layers) as twin:
        twin.serve()
        twin.compose("exec", "--detach", *python[1:], SENTINEL)

        def seen() -> str | None:
            done = twin.compose("exec", "--no-TTY", "server", "cat", "/tmp/seen", check=False)
            return done.stdout if done.returncode == 0 else None

        until(lambda: seen() is not None, "the sentinel listens")
        running = twin.client()
        assert [get(running, f"/lab/api/{path}", running.token) for path in ("update", "news")] == [200, 200]
        assert seen() == ("" if delivered else "asked\nasked\n")
