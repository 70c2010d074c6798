"""Run in a container: make system calls and print the results as JSON: `null`, or the name of the error."""

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
