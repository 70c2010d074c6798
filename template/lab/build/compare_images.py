"""Compares two images and names the files that differ: `make verify`, in the stage `packages`.

    tar -cf - FIRST SECOND | compare_images.py FIRST SECOND

FIRST and SECOND are folders in OCI layout. If the images are equal, the output is their digest (exit status 0). The two
index.json files are enough for this. If the images differ, the output names each layer that differs, the Dockerfile's
line for this layer, and the files that differ (exit status 1).
"""

import hashlib
import json
import re
import sys
import tarfile
from dataclasses import dataclass, field
from typing import IO, Any

Entries = dict[str, tuple[Any, ...]]  # path -> everything in which two entries of a layer can differ


@dataclass
class Archive:
    """The content of the archive. The keys of `images` are folders. The other keys are digests."""

    images: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Entries] = field(default_factory=dict)


def read(stream: IO[bytes]) -> Archive:
    """Read the archive in one pass, because it may be larger than the memory."""
    found = Archive()
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            folder, _, path = member.name.removeprefix("./").partition("/")
            content = archive.extractfile(member)
            if content is None:
                continue
            digest = "sha256:" + path.rpartition("/")[2]
            if path == "index.json":
                found.images[folder] = json.load(content)["manifests"][0]["digest"]
            elif path.startswith("blobs/") and content.peek(1)[:1] == b"{":  # type: ignore[attr-defined]
                found.documents[digest] = json.load(content)
            elif path.startswith("blobs/"):
                found.layers[digest] = entries(content)
    return found


def entries(layer: IO[bytes]) -> Entries:
    """Each file, folder and link of a layer. The base image's layers are compressed."""
    found: Entries = {}
    with tarfile.open(fileobj=layer, mode="r|*") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            digest = hashlib.file_digest(content, "sha256").hexdigest() if content else ""  # type: ignore[arg-type]
            owner = (member.uid, member.gid, member.uname, member.gname)
            kind = (member.type, member.mode, member.linkname, member.devmajor, member.devminor)
            extended = {key: value for key, value in member.pax_headers.items() if key not in ("path", "linkpath")}
            found["/" + member.name.removeprefix("./")] = (*kind, *owner, member.mtime, extended, digest)
    return found


def instructions(settings: dict[str, Any]) -> list[str]:
    """The Dockerfile's line for each layer. The lines of the base image come first."""
    made = [step.get("created_by", "") for step in settings["history"] if not step.get("empty_layer")]
    return [re.sub(r"^RUN .*?/bin/sh -c ", "RUN ", " ".join(line.split())).removesuffix(" # buildkit") for line in made]


def differences(archive: Archive, first: str, second: str) -> list[str]:
    """The differences of two images. `first` and `second` are digests.

    The result has a line for each layer, and an indented line for each file.
    """
    layers = [[layer["digest"] for layer in archive.documents[image].get("layers", [])] for image in (first, second)]
    if len(layers[0]) != len(layers[1]):
        return [f"the number of layers: {len(layers[0])} in the first image, {len(layers[1])} in the second"]
    made = instructions(archive.documents[archive.documents[first]["config"]["digest"]])
    found = []
    for number, (one, other) in enumerate(zip(*layers, strict=True)):
        if one != other:
            old, new = archive.layers[one], archive.layers[other]
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            found.append(f"layer {number + 1}, {made[number]}:")
            found += [f"  {name}" for name in names] or ["  the order of its files"]
    return found or ["only the image's settings (see 'docker image inspect'), no file"]


def main() -> None:
    """The command line."""
    archive = read(sys.stdin.buffer)
    first, second = (archive.images[folder] for folder in sys.argv[1:3])
    if first == second:
        print(first)
        return
    if archive.documents:
        print(*differences(archive, first, second), sep="\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
