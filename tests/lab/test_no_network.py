"""The container `lab` has no network. Then notebooks can send data to no other machine, and the browser still works."""

from pathlib import Path

import pytest

from tests.lab.test_dashboards import answers
from tests.support.project import Project
from tests.support.server_probes import misbehaving
from tests.support.variants import beside

INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


@pytest.mark.full
def test_a_lab_without_a_network_works(lab: Project, tmp_path: Path) -> None:
    """The control: the shared lab has a network."""
    assert "eth0" in lab.client().run(INTERFACES)
    with beside(lab, tmp_path, {"services": {"lab": {"network_mode": "none"}}}) as twin:
        twin.serve()
        assert twin.client().run(INTERFACES) == "['lo']\n"
        assert misbehaving(twin.client()) == set()
        answers(twin)
