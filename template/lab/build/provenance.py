"""Prints the record of a build from BuildKit's metadata: `make sbom`, in the stage `sbom`.

    provenance.py <METADATA >provenance.json

METADATA is the output of `docker buildx bake --metadata-file` for one target. The record here has no credentials in
addresses. If the engine recorded nothing, the output is empty.
"""

import json
import re
import sys


def provenance(metadata: str) -> str:
    """The record as JSON, or nothing."""
    for target in json.loads(metadata).values():
        if isinstance(target, dict) and (found := target.get("buildx.build.provenance")):
            return re.sub(r'//[^/"]*@', "//", json.dumps(found, indent=2, ensure_ascii=False)) + "\n"
    return ""


if __name__ == "__main__":
    sys.stdout.write(provenance(sys.stdin.read()))
