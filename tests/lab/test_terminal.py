"""The programs that every lab has for terminals, and those that it does not have."""

from tests.support.project import Project

PROGRAMS = {"curl", "git", "jupyter", "less", "nano", "ps", "ssh", "top", "unzip", "wget"}
COMPILERS = {"cc", "gcc", "g++", "ld", "make"}


def test_terminals_have_small_programs_and_no_compiler(lab: Project) -> None:
    """Git shows a long history with a pager, and opens a message in an editor."""
    programs = PROGRAMS | COMPILERS | {"$(git var GIT_PAGER)", "$(TERM=xterm git var GIT_EDITOR)"}
    found = lab.shell(f'for name in {" ".join(sorted(programs))}; do command -v "$name" && echo "$name"; done || true')
    assert set(found.split()) >= PROGRAMS | {"pager", "editor"}
    assert not set(found.split()) & COMPILERS
