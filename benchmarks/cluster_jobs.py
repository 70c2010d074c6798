"""Run inside a lab: do a job on a cluster, or with plain pandas; print workers, seconds and results as JSON.

`python -c … JOB WHERE SIZE …`: JOB is a name in JOBS. WHERE is `pandas`, the number of workers of a LocalCluster, or
the address of a scheduler. The job runs once for each SIZE, which is a number of rows or of tasks.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster, Security

PARTS = 32
CUSTOMERS = 1_000_000
REGIONS = 50
BEST = 1000
KEYS = {"tls_ca_file": "ca.pem", "tls_client_cert": "tls.pem", "tls_client_key": "tls.key"}
TLS = {"require_encryption": True, **{key: f"/run/cluster/{file}" for key, file in KEYS.items()}}


def orders(part: int, rows: int) -> pd.DataFrame:
    """One day of a table that has `rows` orders in all. Each run makes the same whole numbers."""
    source = np.random.default_rng(part)
    count = rows // PARTS
    return pd.DataFrame({"customer": source.integers(0, CUSTOMERS, count), "amount": source.integers(1, 1000, count)})


def customers(part: int) -> pd.DataFrame:
    """One part of a table with the region of each customer."""
    number = np.arange(part, CUSTOMERS, PARTS)
    return pd.DataFrame({"customer": number, "region": number * 7919 % REGIONS})


def day(part: int, rows: int) -> pd.DataFrame:
    """The orders of one day: their number, their amount, the customers, and the amount of the best customers."""
    table = orders(part, rows)
    totals = table.groupby("customer")["amount"].sum()
    found = [len(table), table["amount"].sum(), len(totals), totals.nlargest(BEST).sum()]
    return pd.DataFrame([found], columns=["orders", "amount", "customers", "best"])


def new(name: str) -> str:
    """A name for a table that no other table has. Else the cluster could answer with the result of an earlier run."""
    return f"{name}-{time.time_ns()}"


def days(client: Client | None, rows: int) -> list[int]:
    """Group the orders of each day, and add up the days. Workers send each other almost nothing."""
    if client:
        table = dd.from_map(day, range(PARTS), rows=rows, meta=day(0, PARTS), label=new("days"))
        return table.sum().compute().tolist()
    return pd.concat([day(part, rows) for part in range(PARTS)]).sum().tolist()


def join(client: Client | None, rows: int) -> list[int]:
    """Join orders with customers, and add the amounts of each region. Every row goes to the worker of its customer."""
    if client:
        left = dd.from_map(orders, range(PARTS), rows=rows, meta=orders(0, PARTS), label=new("orders"))
        right = dd.from_map(customers, range(PARTS), meta=customers(0).head(1), label=new("customers"))
        table = left.merge(right, on="customer", broadcast=False, shuffle_method="p2p")
        return table.groupby("region")["amount"].sum(split_out=1).compute().sort_index().tolist()
    left = pd.concat([orders(part, rows) for part in range(PARTS)])
    right = pd.concat([customers(part) for part in range(PARTS)])
    return left.merge(right, on="customer").groupby("region")["amount"].sum().sort_index().tolist()


def square(number: int) -> int:
    """A task that takes no time."""
    return number * number


def tasks(client: Client | None, count: int) -> list[int]:
    """Run `count` tasks that take no time, and add their results."""
    assert client
    return [sum(client.gather(client.map(square, range(count), pure=False)))]


JOBS = {"days": days, "join": join, "tasks": tasks}


@contextmanager
def connected(where: str) -> Iterator[Client | None]:
    """A client of the cluster; none for `pandas`."""
    if where == "pandas":
        yield None
    elif where.isdigit():
        local = {"n_workers": int(where), "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**local) as cluster, Client(cluster) as client:
            yield client
    else:
        with Client(where, security=Security(**TLS) if where.startswith("tls:") else None) as client:
            yield client


def main(job: str, where: str, *sizes: str) -> None:
    """Do the job."""
    seconds, results = [], []
    with connected(where) as client:
        workers = len(client.scheduler_info(n_workers=-1)["workers"]) if client else 0
        for size in sizes:
            begin = time.perf_counter()
            results.append(JOBS[job](client, int(size)))
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"workers": workers, "seconds": seconds, "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
