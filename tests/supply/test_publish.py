"""The docs' commands that publish the image: the registry gets BuildKit's provenance too."""

import socket
from pathlib import Path

import pytest
import requests

from tests.support.build_sources import registry
from tests.support.page_commands import blocks
from tests.support.project import Project
from tests.support.repository import ROOT

INDEX = {"Accept": "application/vnd.oci.image.index.v1+json"}


@pytest.mark.nightly
@pytest.mark.types("docs/explanation/reproducible.md")
def test_the_provenance_is_attached(fresh_project: Project, tmp_path: Path) -> None:
    (block,) = blocks((ROOT / "docs/explanation/reproducible.md").read_text(encoding="utf-8"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with registry(tmp_path, port) as address:
        assert "registry.example" in block
        fresh_project.run("sh", "-euc", block.replace("registry.example", address))
        found = requests.get(f"http://{address}/v2/lab/manifests/1", headers=INDEX, timeout=30).json()
    kinds = [each.get("annotations", {}).get("vnd.docker.reference.type") for each in found["manifests"]]
    assert kinds == [None, "attestation-manifest"]
