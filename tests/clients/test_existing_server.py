"""VS Code on another machine uses the lab as an "Existing Jupyter server", through a forwarded port."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.project import Project
from tests.support.vscode import Client, forwarded


@pytest.fixture(scope="module")
def address(lab: Project) -> Iterator[str]:
    """The lab's address through a forwarded port that differs from its own port."""
    own = urlsplit(lab.client().address)
    with forwarded(own.hostname or "", own.port or 0) as other:
        assert urlsplit(other).port != own.port
        yield other


@pytest.mark.parametrize("typed", [False, True], ids=["token in the address", "token typed as password"])
def test_vs_code_runs_a_notebook(lab: Project, address: str, typed: bool) -> None:
    token = lab.client().token
    client = Client(address, "" if typed else token)
    client.connect(token if typed else "")
    with client.kernel("iris") as kernel:
        (reply,) = (m for m in kernel.ask("kernel_info_request", {}) if m["header"]["msg_type"] == "kernel_info_reply")
        assert reply["content"]["language_info"]["name"] == "python"
        # As docs/how-to/vs-code.md says: the user's packages, and paths that start from home.
        look = "import glob, sys; print(sys.executable, *sorted(glob.glob('*')))"
        assert kernel.run(look) == "/opt/venv/bin/python data notebooks\n"
        kernel.run("x = 1")
        kernel.restart()
        assert kernel.run("print('x' in globals())") == "False\n"
        assert kernel.id in {running["id"] for running in client.request("GET", "kernels").json()}
        listed = client.request("GET", "contents/notebooks").json()["content"]
        assert "iris.ipynb" in {entry["name"] for entry in listed}
    assert kernel.id not in {session["kernel"]["id"] for session in client.request("GET", "sessions").json()}


@pytest.mark.parametrize("typed", [False, True], ids=["token in the address", "token typed as password"])
def test_vs_code_with_a_wrong_token_is_refused(address: str, typed: bool) -> None:
    wrong = "0" * 64
    with pytest.raises(requests.HTTPError, match="403"):
        Client(address, "" if typed else wrong).connect(wrong if typed else "")


def test_control_only_known_host_names_are_answered(lab: Project, address: str) -> None:
    """The control: through the same port, another host name is refused."""
    token = {"Authorization": f"token {lab.client().token}"}
    hosts = {urlsplit(address).netloc: 200, "rebound.example": 403}
    answers = {
        host: requests.get(f"{address}/api/kernels", headers={**token, "Host": host}, timeout=60) for host in hosts
    }
    assert {host: answer.status_code for host, answer in answers.items()} == hosts
