"""Computations of a cluster, and a file that makes an image of another version."""

from pathlib import Path

from tests.support.cluster import Cluster

# The table and the array are made on the workers, and move between them.
EXACT = """
import dask.array, dask.dataframe, numpy, pandas
from distributed import wait
def part(number):
    row = numpy.arange(number * 50_000, (number + 1) * 50_000)
    return pandas.DataFrame({"key": row * 7919 % 1000, "value": row})
table = pandas.concat(map(part, range(20)))
shuffled = dask.dataframe.from_map(part, range(20)).shuffle("key").persist()
wait(shuffled)
grouped = shuffled.map_partitions(lambda part: part.groupby("key").value.sum()).compute().sort_index()
assert grouped.equals(table.groupby("key").value.sum()), "the shuffle is wrong"
numbers = dask.array.arange(4_000_000, chunks=200_000).reshape(2000, 2000).rechunk((100, 2000))
moved = (numbers + numbers.T.rechunk((100, 2000)) * 1000).sum(axis=1).compute()
square = numpy.arange(4_000_000).reshape(2000, 2000)
assert (moved == (square + square.T * 1000).sum(axis=1)).all(), "the transpose is wrong"
"""

# At `middle`, each worker has results, and runs tasks that wait. They end after the fault.
WORK = """
from distributed import Event, wait
def square(number):
    return number * number
def waiting(number):
    Event("go").wait()
    return number + 1
Event("go").clear()
first = client.map(square, range(60), pure=False)
wait(first)
second = client.map(waiting, first, pure=False)
while len([keys for keys in client.processing().values() if keys]) < 3:
    pass
assert all(client.has_what().values())
print("middle", flush=True)
input()
try:
    Event("go").set()
    print(sum(client.gather(second)) + sum(client.gather(first)))
except Exception as error:
    print(type(error).__name__, error)
"""
RESULT = f"{2 * sum(n * n for n in range(60)) + 60}\n"

NUMPY = """
import importlib.metadata
found = importlib.metadata.distribution("numpy")
print(found.version, found.locate_file(""))
print(*[file for file in found.files if file.name == "METADATA"])
"""


def other_numpy(cluster: Cluster, file: Path) -> tuple[str, str]:
    """Write a copy of the file with NumPy's version, changed to 1.0.0. Return the true version and the file's path."""
    version, _, path = cluster.run(NUMPY).partition(" ")
    packages, _, name = path.strip().partition("\n")
    there = f"{packages}/{name}"
    text = cluster.lab.run("docker", "exec", *cluster.lab.ids("service=lab"), "cat", there).stdout
    file.write_text(text.replace(f"Version: {version}", "Version: 1.0.0", 1))
    return version, there
