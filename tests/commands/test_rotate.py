"""`make rotate` ends every session: neither the old token nor an old cookie opens the lab."""

import requests

from tests.support.project import Project


def test_neither_the_old_token_nor_an_old_cookie_works(fresh_lab: Project) -> None:
    old = fresh_lab.lab()
    browser = requests.Session()
    browser.get(f"{old.address}/lab", params={"token": old.token}, timeout=10).raise_for_status()
    contents = f"{old.address}/api/contents"
    assert browser.get(contents, timeout=10).status_code == 200  # the cookie alone, and this test could fail

    done = fresh_lab.make("rotate")
    new = fresh_lab.lab()
    assert new.token != old.token and fresh_lab.read("secrets/jupyter_token") == f"{new.token}\n"
    assert len(new.token) == 64
    assert new.token not in done.stdout + done.stderr
    contents = f"{new.address}/api/contents"
    # A browser asks the same address again, though here the lab has another port: it is part of the cookie.
    same = {
        "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies),
        "Host": old.address.removeprefix("http://"),
    }
    assert requests.get(contents, headers=same, timeout=10).status_code == 403
    assert requests.get(contents, headers={"Authorization": f"token {old.token}"}, timeout=10).status_code == 403
    assert new.request("GET", "contents").status_code == 200
