"""Spreads the tests of a run over its workers."""

import os
import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

from tests.support.repository import ROOT


class Scheduling(LoadScopeScheduling):
    """A file or a folder whose tests share a fixture runs in one worker. All other tests can run in any worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not shares(ROOT / file):
            return nodeid
        return str(Path(file).parent) if shares_folder(ROOT / file) else file


@cache
def shares(file: Path) -> bool:
    """Does the file, or the conftest.py beside it, have a fixture for all tests of a file?"""
    found = (path.read_text(encoding="utf-8") for path in (file, file.with_name("conftest.py")) if path.exists())
    return shares_folder(file) or any(re.search(r'\bscope="(module|class)"', text) for text in found)


@cache
def shares_folder(file: Path) -> bool:
    """Does the conftest.py beside the file have a fixture for all tests of the folder?"""
    beside = file.with_name("conftest.py")
    return beside.exists() and 'scope="package"' in beside.read_text(encoding="utf-8")


def workers() -> int:
    """The number of CPUs plus one, because tests often wait for a lab."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cpus + 1
