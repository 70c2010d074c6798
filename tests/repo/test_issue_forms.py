"""The issue forms: a vulnerability is reported privately, in this repository."""

import yaml

from tests.support.repository import ROOT
from tools.address import REPOSITORY


def test_the_link_for_vulnerabilities_leads_to_private_reporting() -> None:
    settings = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text())
    (link,) = settings["contact_links"]
    assert link["url"] == f"{REPOSITORY}/security/advisories/new"
