"""The container `lab` has no network. Notebooks can send data to no other machine, and the browser still works."""

import pytest

from tests.lab.test_dashboards import answers
from tests.support.project import Project
from tests.support.server_probes import misbehaving

INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


@pytest.mark.full
def test_a_lab_without_a_network_works(lab: Project, sealed: Project) -> None:
    """The control: the shared lab has a network."""
    assert "eth0" in lab.client().run(INTERFACES)
    assert sealed.client().run(INTERFACES) == "['lo']\n"
    assert misbehaving(sealed.client()) == set()
    answers(sealed)
