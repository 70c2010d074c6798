"""Checks install.packages() in R. Installed packages work until the next start.

If an installation fails, a message names the Debian package.
"""

import tarfile
from io import BytesIO

from tests.support.project import Project
from tools.notebook import execute, text

DESCRIPTION = (
    "Package: tiny.R\nVersion: 1.0\nTitle: T\nDescription: D.\nLicense: GPL-3\nAuthor: A\nMaintainer: A <a@b.c>\n"
)
FILES = {"DESCRIPTION": DESCRIPTION, "NAMESPACE": "export(two)\n", "R/two.R": "two <- function() 2\n"}
GONE = "labdock: the installed packages are gone at the next start of the lab. To keep them, add Debian's packages to"


def repository(project: Project) -> str:
    """Write a repository with the package tiny.R into data/, as CRAN has it. Returns its address in the lab."""
    folder = project.folder / "data/cran/src/contrib"
    folder.mkdir(parents=True)
    (folder / "PACKAGES").write_text(DESCRIPTION)
    with tarfile.open(folder / "tiny.R_1.0.tar.gz", "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"tiny.R/{name}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content.encode()))
    return "file:///home/jovyan/data/cran"


def check(project: Project) -> None:
    """Install a package, one that the repository lacks, and one from a repository that does not answer."""
    address = repository(project)
    with project.client().kernel(name="ir") as kernel:

        def said(code: str) -> str:
            return text(execute(kernel, code))

        assert "FALSE" in said("cat(requireNamespace('tiny.R', quietly = TRUE))")  # the control
        printed = said(f"install.packages('tiny.R', repos = '{address}')\ncat(tiny.R::two() + 40)")
        assert GONE in printed and "r-cran-tiny.r" in printed and printed.endswith("42")
        printed = said(f"install.packages('No.Such', repos = '{address}')")
        assert (
            "labdock: R did not install 'No.Such'. R's own messages say why. Add 'r-cran-no.such' to DEBIAN_" in printed
        )
        printed = said("install.packages(c('dplyr', 'A3'), repos = 'http://127.0.0.1:9')")
        sentence = (
            "labdock: no repository of R packages can be reached, so R did not install 'dplyr A3'. Add 'r-cran-dplyr"
        )
        assert sentence in printed
    project.compose("restart", "--timeout", "2", "lab")
    project.compose("up", "--detach", "--wait", "--no-build")
    with project.client().kernel(name="ir") as kernel:
        assert "FALSE" in text(execute(kernel, "cat(requireNamespace('tiny.R', quietly = TRUE))"))
