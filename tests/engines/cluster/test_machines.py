"""A lab, and workers on two other machines: `make join`, `make leave`, and computations over all of them."""

import pytest

from tests.support.cluster import Cluster

pytestmark = pytest.mark.full


def test_first(cluster_of_three: Cluster) -> None:
    print(cluster_of_three.workers())
    assert len(cluster_of_three.workers()) == 3
    print(cluster_of_three.run("""
import dask.array as da
x = da.arange(4_000_000, chunks=100_000).reshape(2000, 2000).rechunk((200, 2000))
print(int((x.T + x).rechunk((2000, 200)).sum().compute()))
"""))
