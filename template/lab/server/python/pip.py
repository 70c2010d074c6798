"""Makes `python -m pip` call the lab's own pip. `import pip` finds the pip of your lock or of your own environment."""

import importlib
import os
import runpy
import sys
from pathlib import Path

TRIED = str(Path("/run/lab/try").resolve())  # a link to a volume
if __name__ == "__main__" and sys.prefix in ("/opt/venv", TRIED, sys.base_prefix):
    os.execv("/opt/labdock/bin/pip", ["pip", *sys.argv[1:]])

sys.path.remove(str(Path(__file__).parent))  # Python then finds the other pip
if __name__ == "__main__":
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
else:
    del sys.modules["pip"]
    importlib.import_module("pip")
