"""A careless lab, set up as many labs are. It is the control: attacks on it succeed."""

from collections.abc import Iterator

import pytest

from tests.support.network import Route, routes
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tools.notebook import LabClient

CONFIG = "jupyter_server_config.py"
CARELESS = """
c.IdentityProvider.token = ""
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_origin = "*"
c.ServerApp.disable_check_xsrf = True
c.ServerApp.root_dir = "/"
c.FileContentsManager.preferred_dir = ""
c.ServerApp.contents_manager_class = "jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"
c.ContentsManager.allow_hidden = True
c.ServerApp.tornado_settings = {"headers": {"Content-Security-Policy": ""}}
"""


@pytest.fixture(scope="session")
def target(lab: Project) -> LabClient:
    """The shared lab's address and token."""
    return lab.client()


@pytest.fixture(scope="session")
def registered(lab: Project) -> list[Route]:
    """Every route of the shared lab's server."""
    return routes(lab)


@pytest.fixture(scope="package")
def careless(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabClient]:
    """A server with the shared lab's folder and image, but without labdock's protection."""
    folder = tmp_path_factory.mktemp("careless")
    layer = with_server(lab, folder, CONFIG, lab.read(f"lab/server/{CONFIG}") + CARELESS)
    with beside(lab, folder, layer, COMPOSE_PROJECT_NAME=f"{lab.compose_name()}-careless") as twin:
        twin.serve()
        yield twin.client()
