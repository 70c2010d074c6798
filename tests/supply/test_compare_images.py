"""compare_images.py, which `make verify` runs: two images that differ, and every file in which they do."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from typing import Any

import pytest

from tests.support.build_programs import BUILD

Files = dict[str, dict[str, Any]]  # by path: attributes of its tarfile.TarInfo, and `content`
SAME: Files = {"etc": {"type": tarfile.DIRTYPE}, "etc/always": {"content": b"x" * 100_000}}
HISTORY = [
    {"created_by": "RUN |2 A=1 B=2 /bin/sh -c touch /etc/base\n  # done # buildkit"},
    {"created_by": "ENV A=1", "empty_layer": True},
    {"created_by": "COPY --from=server /opt /opt # buildkit"},
]
Layout = dict[str, bytes]  # by path: content


def layer(files: Files) -> bytes:
    """An uncompressed layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, attributes in files.items():
            member = tarfile.TarInfo(name)
            content = attributes.get("content", b"")
            member.size = len(content)
            for attribute, value in attributes.items():
                if attribute != "content":
                    setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def layout(folder: str, *layers: Files, **settings: Any) -> Layout:
    """An image of these layers, as BuildKit writes it to a folder: the first one, of the base image, is compressed."""
    found: Layout = {}

    def blob(content: bytes) -> dict[str, str]:
        digest = hashlib.sha256(content).hexdigest()
        found[f"{folder}/blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}"}

    config = blob(json.dumps({"history": HISTORY, **settings}).encode())
    contents = [layer(files) for files in layers]
    contents[:1] = [gzip.compress(content, mtime=0) for content in contents[:1]]
    manifest = blob(json.dumps({"config": config, "layers": [blob(content) for content in contents]}).encode())
    found[f"{folder}/index.json"] = json.dumps({"manifests": [manifest]}).encode()
    return found


def compared(*layouts: Layout, only: str = "") -> tuple[int, list[str]]:
    """The program's exit status and output for two images. It gets only files whose names end with `only`."""
    files = {name: {"content": text} for found in layouts for name, text in found.items() if name.endswith(only)}
    command = (sys.executable, "-I", BUILD / "compare_images.py", "1", "2")
    done = subprocess.run(command, input=layer(files), capture_output=True)
    assert not done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode().splitlines()


@pytest.mark.parametrize("only", ["", "index.json"])
def test_equal_images_have_one_digest(only: str) -> None:
    one, other = (layout(folder, SAME, SAME) for folder in "12")
    digest = json.loads(one["1/index.json"])["manifests"][0]["digest"]
    assert compared(one, other, only=only) == (0, [digest])


FILE = {"content": b"1", "mode": 0o644}
DIFFERENT: dict[str, tuple[Files, Files]] = {
    "content": ({"etc/x": FILE}, {"etc/x": {**FILE, "content": b"2"}}),
    "mode": ({"etc/x": FILE}, {"etc/x": {**FILE, "mode": 0o600}}),
    "owner": ({"etc/x": FILE}, {"etc/x": {**FILE, "uid": 1000}}),
    "date": ({"etc/x": FILE}, {"etc/x": {**FILE, "mtime": 1}}),
    "a fraction of a second": ({"etc/x": FILE}, {"etc/x": {**FILE, "mtime": 0.5}}),
    "extended attribute": ({"etc/x": FILE}, {"etc/x": {**FILE, "pax_headers": {"SCHILY.xattr.user.a": "1"}}}),
    "target of a link": (
        {"etc/x": {"type": tarfile.SYMTYPE, "linkname": "a"}},
        {"etc/x": {"type": tarfile.SYMTYPE, "linkname": "b"}},
    ),
    "link and file": ({"etc/x": {"type": tarfile.SYMTYPE, "linkname": "a"}}, {"etc/x": FILE}),
    "device": (
        {"etc/x": {"type": tarfile.CHRTYPE, "devminor": 1}},
        {"etc/x": {"type": tarfile.CHRTYPE, "devminor": 2}},
    ),
    "only in the first": ({"etc/x": FILE}, {}),
    "only in the second": ({}, {"etc/x": FILE}),
    "a long name": ({f"{'long/' * 60}x": FILE}, {f"{'long/' * 60}x": {**FILE, "content": b"2"}}),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_file_that_differs_is_named_with_its_line(case: str) -> None:
    first, second = DIFFERENT[case]
    name = next(iter(first | second))
    status, said = compared(layout("1", SAME, {**SAME, **first}), layout("2", SAME, {**SAME, **second}))
    assert (status, said) == (1, ["layer 2, COPY --from=server /opt /opt:", f"  /{name}"])


def test_every_layer_that_differs_is_named() -> None:
    first, second = DIFFERENT["content"]
    _, said = compared(layout("1", first, first), layout("2", second, second))
    assert said == [
        "layer 1, RUN touch /etc/base # done:",
        "  /etc/x",
        "layer 2, COPY --from=server /opt /opt:",
        "  /etc/x",
    ]


def test_differences_that_are_not_in_a_file_are_named() -> None:
    turned = dict(reversed(SAME.items()))
    assert compared(layout("1", SAME, SAME), layout("2", SAME, turned))[1][1:] == ["  the order of its files"]
    settings = compared(layout("1", SAME, SAME), layout("2", SAME, SAME, config={"User": "0"}))
    assert settings == (1, ["only the image's settings (see 'docker image inspect'), no file"])
    numbers = ["the number of layers: 2 in the first image, 1 in the second"]
    assert compared(layout("1", SAME, SAME), layout("2", SAME)) == (1, numbers)


def test_without_the_layers_nothing_is_named() -> None:
    """`make verify` first compares only the two index.json files."""
    assert compared(layout("1", SAME), layout("2"), only="index.json") == (1, [])
