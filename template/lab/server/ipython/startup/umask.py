"""Applies LAB_UMASK in each notebook kernel. Each kernel runs this file at its start, in the browser and in VS Code."""

import os as _os

_os.umask(int(_os.environ.get("LAB_UMASK") or "022", 8))
del _os
