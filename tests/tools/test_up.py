"""`make url` and the words of `make up`."""

from tests.support.project import Project


def test_url_of_a_lab_that_runs(lab: Project) -> None:
    done = lab.make("url")
    assert done.stdout.splitlines()[-1] == f"Address: {lab.lab().address}/lab"
    assert lab.lab().token not in done.stdout


def test_url_of_a_lab_that_does_not(engine: None, project: Project) -> None:
    done = project.make("url", check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.splitlines()[0] == "labdock: the lab is not running: start it with 'make up'."
