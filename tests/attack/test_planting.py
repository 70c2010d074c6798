"""A hostile notebook leaves files behind, so that the next start of the server obeys them."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mutants import beside, with_server
from tests.support.probes import get, misbehaving
from tests.support.project import Project
from tools.notebook import Lab

PYTHON = """c = get_config()
c.ServerApp.ip = "0.0.0.0"
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.allow_remote_access = True
"""
JSON = json.dumps(
    {
        "IdentityProvider": {"token": ""},
        "ServerApp": {"ip": "0.0.0.0", "allow_unauthenticated_access": True, "allow_remote_access": True},
    }
)
KERNEL = json.dumps({"argv": ["/bin/false"], "display_name": "Planted", "language": "python"})
# Leaves a mark, and says whose Python ran it.
CODE = """import pathlib, sys
pathlib.Path(f"/tmp/planted{sys.prefix.replace('/', '-')}").touch()
"""

CONFIGURATION = {
    **{f"jupyter{app}_config.{kind}": {"py": PYTHON, "json": JSON}[kind]
       for app in ("", "_server", "_lab", "_notebook") for kind in ("py", "json")},
    "jupyter_server_config.d/open.json": JSON,
    "labconfig/page_config.json": '{"appName": "Planted"}',
    "kernels/python3/kernel.json": KERNEL,
    "kernels/planted/kernel.json": KERNEL,
}  # fmt: skip
MODULES = {
    **{f"{name}.py": CODE for name in ("sitecustomize", "usercustomize", "jupyterlab", "contents")},
    "jupyter_server/__init__.py": CODE,
    "planted.pth": CODE.replace("\n", "; "),
}
# Where each kind is looked for, by this or that program, below home.
PLACES = {
    ".jupyter": CONFIGURATION,
    ".local/share/jupyter": CONFIGURATION,
    ".local/etc/jupyter": CONFIGURATION,
    ".local/lib/python3.13/site-packages": MODULES,
    **dict.fromkeys(("data", "notebooks", "."), CONFIGURATION | MODULES),
}
RARER = (" JUPYTER_DATA_DIR=/opt/labdock", " -I")  # guards of the entrypoint, besides the first
KEPT = (".jupyter", ".local", ".config")  # of the stand-in for a home that outlives a start
Plant = Callable[[str, str], None]


@pytest.fixture
def plant(lab: Project, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Everything, everywhere: in the mounts, and in folders that stand for a home and a package folder that last."""
    for place, files in (PLACES | {"site": MODULES}).items():
        top = lab.folder if place in ("data", "notebooks") else tmp_path
        for name, text in files.items():
            path = top / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if top == lab.folder:
                request.addfinalizer(lambda path=path: path.unlink(missing_ok=True))
    uid, gid = map(int, lab.container()["Config"]["User"].split(":"))
    for path in tmp_path.rglob("*"):
        os.chown(path, uid, gid)


@contextmanager
def started_over(lab: Project, folder: Path, guard: str = "") -> Iterator[Lab | None]:
    """The lab after its next start, on what was planted, without `guard` in the entrypoint; None: not started."""
    kept = [f"{folder / name}:/home/jovyan/{name}" for name in KEPT if (folder / name).is_dir()]
    layers = [{"services": {"lab": {"volumes": [*kept, f"{folder / 'site'}:/run/try/site"]}}}]
    if guard:
        entrypoint = lab.read("lab/server/entrypoint.sh")
        assert guard in entrypoint
        layers.append(with_server(lab, folder, "entrypoint.sh", entrypoint.replace(guard, "")))
    with beside(lab, folder, *layers) as twin:
        started = twin.compose("up", "--detach", "--wait", "--no-build", check=False).returncode == 0
        yield twin.lab() if started else None


def obeyed(lab: Lab | None) -> bool:
    """Whether the server does anything but what its image says."""
    return (
        lab is None
        or get(lab, "/api/contents") != 403
        or bool(misbehaving(lab))
        or "Planted" in lab.request("GET", "kernelspecs").text
        or "opt-jupyter" in marks(lab)
    )


def marks(lab: Lab) -> str:
    """Which Pythons ran something planted."""
    return lab.run("import glob; print(glob.glob('/tmp/planted*'))")


@pytest.mark.attack(
    "plant settings, kernels, modules, sitecustomize and .pth files in home, in every mount and where pip installs",
    "the next start asks for the token and keeps every setting of the image",
)
def test_nothing_planted_is_obeyed(lab: Project, plant: None, tmp_path: Path) -> None:
    with started_over(lab, tmp_path) as next_start:
        assert not obeyed(next_start)
        assert "opt-venv" in marks(next_start)  # the control: what is the user's runs in the user's kernel


@pytest.mark.parametrize(
    "guard", ["JUPYTER_CONFIG_DIR=/opt/labdock ", *(pytest.param(g, marks=pytest.mark.full) for g in RARER)]
)
def test_control_without_its_guard_the_server_obeys(lab: Project, plant: None, tmp_path: Path, guard: str) -> None:
    with started_over(lab, tmp_path, guard) as next_start:
        assert obeyed(next_start)


@pytest.mark.attack("the same, by a kernel of the running lab, and then end the server", "the same")
def test_what_a_kernel_plants_is_not_obeyed(fresh_lab: Project) -> None:
    places = {f"/home/jovyan/{place}": files for place, files in PLACES.items()}
    places |= {"/run/try/site": MODULES, "/var/lib/lab/1000": CONFIGURATION | MODULES}
    places |= {place: CONFIGURATION | MODULES for place in ("/tmp", "/run/lab", "/var/lib/lab/1000/lab")}
    before = fresh_lab.lab()
    before.run(f"""
import pathlib
for place, files in {places!r}.items():
    for name, text in files.items():
        path = pathlib.Path(place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
""")
    fresh_lab.compose("restart", "--timeout", "2", "lab")
    fresh_lab.compose("up", "--detach", "--wait", "--no-build")
    assert not obeyed(fresh_lab.lab())
