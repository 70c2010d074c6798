"""Sets the variables in /run/lab/environment in notebook kernels of VS Code, which the server does not start."""

import os as _os
from pathlib import Path as _Path

for _line in _Path("/run/lab/environment").read_text(encoding="utf-8").splitlines():
    _os.environ.setdefault(*_line.split("=", 1))
del _os, _Path, _line
