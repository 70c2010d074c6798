"""Prints the record of a build from BuildKit's metadata: `make sbom`, in the stage `sbom`.

    provenance.py <METADATA >provenance.json

METADATA is what `docker buildx bake --metadata-file` writes for one target. Credentials in addresses are left out. An
engine that records nothing leaves the output empty.
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
