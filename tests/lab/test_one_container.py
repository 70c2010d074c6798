"""Server and notebooks in one container (`serve`), for platforms that start a single container."""

from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.server_probes import PROBES, misbehaving
from tests.support.variants import beside, one_container
from tests.support.waiting import until

APART = {
    "notebooks run outside of the servers container",
    "terminals run outside of the servers container",
}


@pytest.mark.full
def test_one_container_passes_every_other_probe(lab: Project, tmp_path: Path) -> None:
    """It has no volume for sockets, and starts kernels itself."""
    with beside(lab, tmp_path, {"services": {"server": one_container(lab)}}) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "server")
        assert misbehaving(twin.client()) == APART
        assert PROBES.keys() > APART


@pytest.mark.full
def test_a_record_that_notebooks_could_change_is_refused(lab: Project, tmp_path: Path) -> None:
    layer = {"services": {"server": one_container(lab)}}
    with beside(lab, tmp_path, layer, LAB_AUDIT="on") as twin:
        twin.compose("up", "--detach", "--no-build", "--no-deps", "server")
        said = "labdock: LAB_AUDIT is on, but notebooks in this container could change the record. Set LAB_AUDIT=off"
        until(lambda: said in twin.logs(), "it refuses")
