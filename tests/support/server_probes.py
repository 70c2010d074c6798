"""Named probes for the behaviour of a running lab over HTTP.

`tests/lab/test_server.py` removes each setting of the server. The probe for this setting must then fail. A probe
returns True if the lab behaves. Otherwise it returns False or raises.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
import websocket
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.notebook import LabClient

Probe = Callable[[LabClient], bool]
OUTSIDE = "made-outside.txt"  # relative to home, which is empty at each start
TEXT = {"type": "file", "format": "text", "content": "hello"}


def get(lab: LabClient, path: str, token: str | None = None, **headers: str) -> int:
    """The status of a request. If `token` is None, the request contains no token."""
    if token is not None:
        headers["Authorization"] = f"token {token}"
    return requests.get(lab.address + path, headers=headers, timeout=30).status_code


def refusal(lab: LabClient, method: str, path: str, **options: Any) -> str:
    """The message of a refusal. It is empty if the server does not refuse."""
    try:
        lab.request(method, path, **options)
    except requests.HTTPError as error:
        return error.response.json()["message"]
    return ""


def log_in(lab: LabClient, token: str | None = None) -> requests.Session:
    """A browser that typed the token into the login page."""
    browser = requests.Session()
    browser.get(f"{lab.address}/login", timeout=30).raise_for_status()
    form = {"password": token or lab.token, "_xsrf": browser.cookies["_xsrf"]}
    browser.post(f"{lab.address}/login", data=form, timeout=30, allow_redirects=False)
    return browser


def enters(lab: LabClient, browser: requests.Session) -> bool:
    return browser.get(f"{lab.address}/api/contents", timeout=30).status_code == 200


@contextmanager
def running_kernel(lab: LabClient) -> Iterator[str]:
    """The id of a kernel without a client."""
    kernel = lab.request("POST", "kernels", json={"name": "python3"}).json()["id"]
    try:
        yield kernel
    finally:
        lab.request("DELETE", f"kernels/{kernel}")


def channel(lab: LabClient, kernel: str, **headers: str) -> int:
    """The status of the answer to a websocket for `kernel`. 101 means that the websocket opens."""
    url = f"{lab.address.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
    origin = headers.pop("Origin", lab.address)
    try:
        connection = websocket.create_connection(url, timeout=30, origin=origin, header=headers)
    except websocket.WebSocketBadStatusException as error:
        return error.status_code
    connection.close()
    return 101


# --- who gets in ----------------------------------------------------------------------------------
def only_the_token_gives_access(lab: LabClient) -> bool:
    path, wrong = "/api/contents", "0" * 64
    return [get(lab, path, token) for token in (None, "", wrong, lab.token)] == [403, 403, 403, 200]


def every_page_asks_for_the_token(lab: LabClient) -> bool:
    """This also applies to a page that does not exist. Without the token, the server shows the login page."""
    return [get(lab, "/nowhere"), get(lab, "/nowhere", lab.token)] == [200, 404]


def login_makes_a_strict_session(lab: LabClient) -> bool:
    browser, stranger = log_in(lab), log_in(lab, "0" * 64)
    (cookie,) = (cookie for cookie in browser.cookies if cookie.name.startswith("username-"))
    strict = cookie.get_nonstandard_attr("SameSite") == "Strict" and cookie.has_nonstandard_attr("HttpOnly")
    return strict and enters(lab, browser) and not enters(lab, stranger)


def foreign_pages_post_nothing(lab: LabClient) -> bool:
    """The cookie alone is not enough. A POST also needs a header that only the lab's own pages can send."""
    browser, url = log_in(lab), f"{lab.address}/api/terminals"
    without = browser.post(url, timeout=30)
    own = browser.post(url, headers={"X-XSRFToken": browser.cookies["_xsrf"]}, timeout=30)
    lab.request("DELETE", f"terminals/{own.json()['name']}")
    return (without.status_code, own.status_code) == (403, 200)


def only_known_hosts_are_answered(lab: LabClient) -> bool:
    """A foreign name for this address is refused, with the token or without."""
    names = {"rebound.example": 403, "localhost": 200, "127.0.0.1": 200}
    return {name: get(lab, "/api/contents", lab.token, Host=name) for name in names} == names


def websockets_ask_for_the_token(lab: LabClient) -> bool:
    token = {"Authorization": f"token {lab.token}"}
    with running_kernel(lab) as kernel:
        return [
            channel(lab, kernel),
            channel(lab, kernel, Authorization=f"token {'0' * 64}"),
            channel(lab, kernel, **token),
        ] == [403, 403, 101]


def foreign_pages_open_no_websocket(lab: LabClient) -> bool:
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in log_in(lab).cookies)
    with running_kernel(lab) as kernel:
        origins = ("http://foreign.example", lab.address)
        return [channel(lab, kernel, Cookie=cookies, Origin=origin) for origin in origins] == [403, 101]


def pages_contain_no_token(lab: LabClient) -> bool:
    """The token is in no page: neither in a page of the two front ends nor in the page of an error."""
    pages = [
        requests.get(lab.address + path, headers={"Authorization": f"token {lab.token}"}, timeout=30)
        for path in ("/lab", "/tree", "/nowhere")
    ]
    return [page.status_code for page in pages] == [200, 200, 404] and not any(lab.token in p.text for p in pages)


def addresses_of_pages_lose_the_token(lab: LabClient) -> bool:
    """A browser is led to the address without the token, and stays logged in. Other clients get their answer."""
    address = f"{lab.address}//foreign.example/lab?reset&token={lab.token}&next=%2Flab%2Fa%20b"
    browser = requests.Session()
    led = browser.get(address, headers={"Accept": "text/html"}, timeout=30, allow_redirects=False)
    place = led.headers.get("Location")
    api = requests.get(f"{lab.address}/api/contents?token={lab.token}", timeout=30, allow_redirects=False)
    return (led.status_code, place, api.status_code) == (
        302, "/foreign.example/lab?reset=&next=%2Flab%2Fa+b", 200,
    ) and enters(lab, browser)  # fmt: skip


def nobody_sets_a_password(lab: LabClient) -> bool:
    browser, new = log_in(lab), "a-password-of-my-own"
    form = {"password": lab.token, "new_password": new, "_xsrf": browser.cookies["_xsrf"]}
    done = browser.post(f"{lab.address}/login", data=form, timeout=30, allow_redirects=False)
    return done.status_code < 500 and not enters(lab, log_in(lab, new))


def the_login_page_names_the_tokens_file(lab: LabClient) -> bool:
    page = requests.get(f"{lab.address}/login", timeout=30).text
    return "cat secrets/jupyter_token" in page and "jupyter server list" not in page and "<script" not in page


# --- files and kernels ----------------------------------------------------------------------------
def saving_elsewhere_is_refused(lab: LabClient) -> bool:
    """Saving and renaming work only in the mounts. A file elsewhere would be lost."""
    sentence = f"'{OUTSIDE}' would be lost when the lab stops. Save it in notebooks/ or data/."
    for folder in ("data", "notebooks"):
        lab.request("PUT", f"contents/{folder}/probe.txt", json=TEXT)
    refused = [
        refusal(lab, "PUT", f"contents/{OUTSIDE}", json=TEXT),
        refusal(lab, "PATCH", "contents/data/probe.txt", json={"path": OUTSIDE}),
    ]
    lab.request("DELETE", "contents/data/probe.txt")
    lab.request("DELETE", "contents/notebooks/probe.txt")
    return refused == [sentence, sentence]


def deleted_is_gone(lab: LabClient) -> bool:
    """No hidden trash folder grows in a mount."""
    lab.request("PUT", "contents/data/probe.txt", json=TEXT)
    lab.request("DELETE", "contents/data/probe.txt")
    look = "import pathlib, shutil; data = pathlib.Path.home() / 'data'; print([path.name for path in data.iterdir()])"
    tidy = "[shutil.rmtree(path) for path in data.glob('.Trash*')]"  # the next probe must find only its own files
    left = lab.run(f"{look}; {tidy}")
    return "probe" not in left and "Trash" not in left


def home_is_what_the_browser_sees(lab: LabClient) -> bool:
    listing = lab.request("GET", "contents").json()["content"]
    return {entry["name"] for entry in listing} == {"data", "notebooks"}


def one_kernel_in_the_users_environment(lab: LabClient) -> bool:
    kernels = lab.request("GET", "kernelspecs").json()
    return list(kernels["kernelspecs"]) == ["python3"] and lab.run("import sys; print(sys.executable)") == (
        "/opt/venv/bin/python\n"
    )


def kernels_of_notebooks_are_not_offered(lab: LabClient) -> bool:
    """A notebook can install a kernel into home. The server starts kernels of the image only."""
    lab.run("import os; assert os.system('python -m ipykernel install --user --name mine') == 0")
    offered = lab.request("GET", "kernelspecs").json()["kernelspecs"]
    lab.run("import pathlib, shutil; shutil.rmtree(pathlib.Path.home() / '.local/share/jupyter/kernels/mine')")
    return "mine" not in offered


def kernels_use_unix_sockets(lab: LabClient) -> bool:
    """Kernels do not use ports, because any process in the container could connect to a port."""
    asked = "import ipykernel, json; print(json.load(open(ipykernel.get_connection_file()))['transport'])"
    return lab.run(asked) == "ipc\n"


def typed(lab: LabClient, command: str, **options: str) -> str:
    """The output of `command` in a new terminal, which gets `options`, such as its folder `cwd`."""
    name = lab.request("POST", "terminals", json=options).json()["name"]
    url = f"{lab.address.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={lab.token}"
    terminal = websocket.create_connection(url, timeout=10, origin=lab.address)
    try:
        terminal.send(json.dumps(["stdin", f"{command}; echo :$((6 * 7))\r"]))
        shown = ""
        while ":42" not in shown:
            shown += "".join(part for part in json.loads(terminal.recv())[1:] if isinstance(part, str))
    finally:
        terminal.close()
        lab.request("DELETE", f"terminals/{name}")
    return shown


def terminals_work(lab: LabClient) -> bool:
    """A terminal finds the user's environment first. If memory runs out, it ends before the server."""
    shown = typed(lab, "echo $HOME:$(command -v python):$(cat /proc/$$/oom_score_adj)")
    return "/home/jovyan:/opt/venv/bin/python:1000" in shown


def notebooks_run_outside_of_the_servers_container(lab: LabClient) -> bool:
    return lab.run("import os; print(os.path.exists('/run/secrets'), os.path.exists('/workspace'))") == "False True\n"


def terminals_run_outside_of_the_servers_container(lab: LabClient) -> bool:
    shown = typed(lab, "ls -d /run/secrets /workspace 2>/dev/null | tr '\\n' '+'")
    return "/workspace+" in shown and "secrets+" not in shown


# --- what it serves -------------------------------------------------------------------------------
def pages_are_served(lab: LabClient) -> bool:
    return [get(lab, page, lab.token) for page in ("/lab", "/tree")] == [200, 200]


def widgets_are_installed(lab: LabClient) -> bool:
    page = requests.get(f"{lab.address}/lab", headers={"Authorization": f"token {lab.token}"}, timeout=30).text
    return "@jupyter-widgets/jupyterlab-manager" in page


def page(lab: LabClient) -> dict[str, Any]:
    """The settings that the front end's page gets."""
    text = requests.get(f"{lab.address}/lab", headers={"Authorization": f"token {lab.token}"}, timeout=30).text
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def packages_extensions_come_after_the_servers(lab: LabClient) -> bool:
    """All extensions come from folders of the image. Each name appears once."""
    told = page(lab)
    names = [extension["name"] for extension in told["federated_extensions"]]
    *own, last = told["labextensionsPath"]
    return (
        len(names) == len(set(names))
        and "/opt/jupyter/share/jupyter/labextensions" in own
        and last == "/opt/venv/share/jupyter/offered/labextensions"
        and all(folder.startswith(("/opt/", "/usr/")) for folder in own)
    )


def language_servers_are_left_out(lab: LabClient) -> bool:
    return get(lab, "/lsp/status", lab.token) == 404


def extensions_cannot_be_installed(lab: LabClient) -> bool:
    url, token = f"{lab.address}/lab/api/extensions", {"Authorization": f"token {lab.token}"}
    asked = requests.post(url, headers=token, json={"cmd": "install", "extension_name": "x"}, timeout=60)
    page = requests.get(f"{lab.address}/lab", headers=token, timeout=30).text
    return asked.status_code >= 400 and '"can_install": false' in page


def managers_that_can_change_nothing_are_hidden(lab: LabClient) -> bool:
    """The managers would offer to install extensions and to turn off plugins. Both are impossible here."""
    managers = {"@jupyterlab/extensionmanager-extension", "@jupyterlab/pluginmanager-extension"}
    return managers <= {*page(lab)["disabledExtensions"]}


def no_news_is_fetched(lab: LabClient) -> bool:
    page = requests.get(f"{lab.address}/lab", headers={"Authorization": f"token {lab.token}"}, timeout=30).text
    return '"news": {"disabled": true}' in page


def memory_and_its_limit_are_shown(lab: LabClient) -> bool:
    """The status bar shows the memory used and the container's limit, not the machine's memory."""
    look = """
from pathlib import Path
files = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
print(next(file.read_text().strip() for file in files if file.exists()))
"""
    shown = lab.request("GET", "metrics/v1").json()
    return 0 < shown["rss"] < shown["limits"]["memory"]["rss"] == int(lab.run(look))


def exports_without_their_programs_are_not_offered(lab: LabClient) -> bool:
    """Every export that the lab offers works. pandoc, TeX and a browser are not in the image."""
    offered = lab.request("GET", "nbconvert").json().keys() - {"custom", "notebook"}
    token = {"Authorization": f"token {lab.token}"}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell("1")], metadata=kernel)
    lab.request("PUT", "contents/notebooks/export.ipynb", json={"type": "notebook", "content": notebook})
    pages = {form: f"{lab.address}/nbconvert/{form}/notebooks/export.ipynb?download=true" for form in offered}
    try:
        works = {form: requests.get(page, headers=token, timeout=60).ok for form, page in pages.items()}
    finally:
        lab.request("DELETE", "contents/notebooks/export.ipynb")
    return works == dict.fromkeys(("html", "markdown", "python", "script", "slides"), True)


def nothing_is_counted_each_second(lab: LabClient) -> bool:
    metrics = requests.get(f"{lab.address}/metrics", headers={"Authorization": f"token {lab.token}"}, timeout=30)
    return metrics.ok and "total_memory_usage" not in metrics.text


PROBES: dict[str, Probe] = {
    probe.__name__.replace("_", " "): probe
    for probe in (
        only_the_token_gives_access,
        every_page_asks_for_the_token,
        login_makes_a_strict_session,
        foreign_pages_post_nothing,
        only_known_hosts_are_answered,
        websockets_ask_for_the_token,
        foreign_pages_open_no_websocket,
        pages_contain_no_token,
        addresses_of_pages_lose_the_token,
        nobody_sets_a_password,
        the_login_page_names_the_tokens_file,
        saving_elsewhere_is_refused,
        deleted_is_gone,
        home_is_what_the_browser_sees,
        one_kernel_in_the_users_environment,
        kernels_of_notebooks_are_not_offered,
        kernels_use_unix_sockets,
        terminals_work,
        notebooks_run_outside_of_the_servers_container,
        terminals_run_outside_of_the_servers_container,
        pages_are_served,
        widgets_are_installed,
        packages_extensions_come_after_the_servers,
        language_servers_are_left_out,
        extensions_cannot_be_installed,
        managers_that_can_change_nothing_are_hidden,
        no_news_is_fetched,
        memory_and_its_limit_are_shown,
        exports_without_their_programs_are_not_offered,
        nothing_is_counted_each_second,
    )
}


def misbehaving(lab: LabClient, names: Iterable[str] = tuple(PROBES)) -> set[str]:
    """The names of the probes that a lab fails."""
    found = set()
    for name in names:
        try:
            behaves = PROBES[name](lab)
        except Exception:  # any error means that the lab does not do what it should
            behaves = False
        if not behaves:
            found.add(name)
    return found
