"""Programs of lab/build and lab/server that need only Python, as modules for unit tests."""

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

LAB = Path(__file__).resolve().parent.parent.parent / "template/lab"
BUILD = LAB / "build"


def load(name: str, folder: str = "build") -> ModuleType:
    """The module NAME.py of lab/build or another `folder`."""
    (path,) = [path for path in (LAB / folder).iterdir() if f"{name}.py" in path.name]
    loader = SourceFileLoader(name, str(path))  # the file's name may contain Copier's condition
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # packages.py and bundle.py import run_and_explain
    loader.exec_module(module)
    return module
