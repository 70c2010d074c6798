"""Run in a container: make system calls, print what came of each, as JSON: `null` or the error's name."""

import json
import os
import tempfile

from outcome import outcome
from refused import REFUSED
from work import FILE, WORK

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    FILE.write_text("abcdef")
    kinds = {"refused": REFUSED, "work": WORK}
    print(json.dumps({kind: {name: outcome(call) for name, call in calls.items()} for kind, calls in kinds.items()}))
