"""A cluster over three machines, which the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.cluster import LOADED, Cluster, cluster
from tests.support.project import Render


@pytest.fixture(scope="package")
def started_cluster(new_project: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three machines with the lab and the scheduler on the first. No worker has joined."""
    source = new_project(scale_out="dask")
    source.compose("build", "lab")
    image = source.config()["services"]["lab"]["image"]
    (source.folder / "compose.override.yaml").write_text(LOADED)
    with cluster(source, tmp_path_factory.mktemp("cluster"), image) as found:
        yield found


@pytest.fixture
def cluster_of_three(started_cluster: Cluster) -> Cluster:
    """Two workers on the second machine and one on the third. What another test left is repaired."""
    if started_cluster.workers() != started_cluster.all():
        started_cluster.empty()
        started_cluster.join(1, 2)
        started_cluster.join(2)
    return started_cluster
