"""`make rotate` ends every session. Neither the old token nor an old cookie opens the lab, even if the start fails."""

import pytest
import requests

from tests.support.project import Project
from tests.support.refusal import answers
from tools.notebook import LabClient


def test_neither_the_old_token_nor_an_old_cookie_works(fresh_lab: Project) -> None:
    old = fresh_lab.client()
    browser = requests.Session()
    browser.get(f"{old.address}/lab", params={"token": old.token}, timeout=10).raise_for_status()
    contents = f"{old.address}/api/contents"
    assert browser.get(contents, timeout=10).status_code == 200  # the control: the cookie alone opens the lab

    done = fresh_lab.make("rotate")
    new = fresh_lab.client()
    assert new.token != old.token and fresh_lab.read("secrets/jupyter_token") == f"{new.token}\n"
    assert len(new.token) == 64
    assert new.token not in done.stdout + done.stderr
    contents = f"{new.address}/api/contents"
    # The port is part of the cookie's name. A user's lab keeps its port, but this one does not.
    same = {
        "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies),
        "Host": old.address.removeprefix("http://"),
    }
    assert requests.get(contents, headers=same, timeout=10).status_code == 403
    assert requests.get(contents, headers={"Authorization": f"token {old.token}"}, timeout=10).status_code == 403
    assert new.request("GET", "contents").status_code == 200


@pytest.mark.full
def test_the_old_token_ends_even_if_settings_and_build_fail(fresh_lab: Project) -> None:
    """After a leak, an error in .env, compose.override.yaml or the Dockerfile must not keep the old token alive."""
    token = fresh_lab.read("secrets/jupyter_token").strip()
    old = fresh_lab.client().address
    dockerfile, env = fresh_lab.read("Dockerfile"), fresh_lab.read(".env")
    (fresh_lab.folder / "Dockerfile").write_text("FROM scratch\nRUN false\n")
    (fresh_lab.folder / ".env").write_text(f"{env}two words\n")
    assert answers(LabClient(old, token)) == 200  # the control
    done = fresh_lab.make("rotate", check=False)
    assert done.returncode and "labdock: Compose prints" in done.stderr
    assert answers(LabClient(old, token)) is None
    assert not (fresh_lab.folder / "secrets/jupyter_token").exists()

    (fresh_lab.folder / ".env").write_text(env)
    fresh_lab.make("rotate")  # without a build, which would fail
    new = fresh_lab.client()
    assert [answers(LabClient(new.address, each)) for each in (token, new.token)] == [403, 200]
    (fresh_lab.folder / "Dockerfile").write_text(dockerfile)
