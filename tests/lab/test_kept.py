"""Files that survive a restart, separately for each uid, and the command that deletes them."""

import json
import re
from pathlib import Path

import pytest

from tests.lab.test_ids import become, own
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until

SETTINGS = "../lab/api/settings/@jupyterlab/apputils-extension:themes"
FILES = (".vscode-server/extensions.json", ".bash_history", "elsewhere")
UNSET = "fatal: unable to read config file '/home/jovyan/.gitconfig': No such file or directory\n"
IDENTITY = "user.name=Ada Lovelace\nuser.email=ada@lab.example\n"
KEPT = "lab/server/start/kept.sh"
FIND = f"""
import json, pathlib
found = {{"history": " ".join(line for *_, line in get_ipython().history_manager.search("mark = *"))}}
for name in {FILES}:
    path = pathlib.Path.home() / name
    if path.exists():
        found[name] = path.read_text()
print(json.dumps(found))
"""


def raw(mark: str) -> str:
    return json.dumps({"theme": mark})


def leave(project: Project, mark: str) -> None:
    """Write `mark` to every place that a restart could keep."""
    lab = project.client()
    lab.run(f"mark = {mark!r}")
    lab.run(f"import pathlib\nfor name in {FILES}: (pathlib.Path.home() / name).write_text({mark!r})")
    lab.request("PUT", SETTINGS, json={"raw": raw(mark)})


def found(project: Project) -> dict[str, str]:
    """The marks that the lab has after this start."""
    lab = project.client()
    seen = json.loads(lab.run(FIND))
    return seen | {"settings": lab.request("GET", SETTINGS).json()["raw"]}


def kept(mark: str) -> dict[str, str]:
    """The marks that should exist after a restart: all except the file elsewhere in home."""
    return {**dict.fromkeys(FILES[:2], mark), "history": f"mark = {mark!r}", "settings": raw(mark)}


NOTHING = {"history": "", "settings": "{}"}


@pytest.mark.full
def test_each_user_finds_their_own_files_until_a_reset(fresh_lab: Project) -> None:
    assert found(fresh_lab) == NOTHING
    leave(fresh_lab, "first")
    become(fresh_lab, "9999:9999")
    assert found(fresh_lab) == NOTHING
    leave(fresh_lab, "second")
    fresh_lab.compose("down")
    become(fresh_lab, "1000:1000")
    assert found(fresh_lab) == kept("first")
    become(fresh_lab, "9999:9999")
    assert found(fresh_lab) == kept("second")
    fresh_lab.make("reset")
    assert found(fresh_lab) == NOTHING


@pytest.mark.full
def test_a_kept_folder_of_another_uid_is_refused(fresh_lab: Project) -> None:
    """Two uids share the volume. If one makes the folder of the other, the lab refuses to start and names the fix."""
    fresh_lab.client().run("import os; os.mkdir('/var/lib/lab/9999')")
    own(fresh_lab, "9999:9999")
    done = fresh_lab.make("up", check=False)
    assert "labdock: in the lab's volume, the folder for uid 9999 belongs to uid 1000. Run 'make reset'" in done.stderr
    assert "is unhealthy" not in done.stderr, "make up waited for the health of a lab that had refused"
    fresh_lab.make("reset")
    assert found(fresh_lab) == NOTHING


OLD = """
cd /var/lib/lab/$(id -u)
mkdir -p lab/user-settings/@jupyterlab/apputils-extension
cd lab/user-settings/@jupyterlab
echo '{"theme": "of v0.2.0"}' >apputils-extension/themes.jupyterlab-settings
ln -s /run/secrets/jupyter_token apputils-extension/link.jupyterlab-settings
"""


@pytest.mark.full
def test_settings_of_an_older_version_move_to_the_servers_volume(fresh_lab: Project) -> None:
    """But no links, because a notebook can write the old folder. Settings that the server has already stay."""
    fresh_lab.shell(OLD)
    fresh_lab.compose("up", "--detach", "--wait", "--no-build", "--force-recreate")
    assert found(fresh_lab)["settings"] == "{}"  # the control: this lab began with a volume for the server
    fresh_lab.shell("rm -rf /var/lib/server/$(id -u)/lab", "server")
    fresh_lab.compose("up", "--detach", "--wait", "--no-build", "--force-recreate")
    assert json.loads(found(fresh_lab)["settings"]) == {"theme": "of v0.2.0"}
    assert fresh_lab.shell("find /var/lib/server -type l", "server") == ""


PLANTED = (
    "rm -rf .vscode-server && touch .vscode-server",
    "rm -rf .gitconfig && mkdir -p .gitconfig/a && touch .gitconfig/a/b && chmod 500 .gitconfig/a",
)


@pytest.mark.full
@pytest.mark.parametrize("plant", [PLANTED[0], pytest.param(PLANTED[1], marks=pytest.mark.nightly)])
def test_a_start_that_fails_waits_with_one_sentence(lab: Project, tmp_path: Path, plant: str) -> None:
    """A notebook changed the volume. Without the trap in the entrypoint, the engine would restart the lab in a loop."""
    with beside(lab, tmp_path) as twin:
        twin.serve()
        twin.shell(f"cd /var/lib/lab/$(id -u) && {plant}")
        twin.compose("rm", "--stop", "--force", "lab")
        twin.compose("up", "--detach", "--no-build")
        until(lambda: "labdock: a step of the start failed with the error above." in twin.logs(), "the lab refuses")
        assert twin.container()["RestartCount"] == 0 and twin.container()["State"]["Running"]


# --- git's settings -----------------------------------------------------------------------------------
@pytest.mark.full
@pytest.mark.parametrize("spoilt", [False, True], ids=["as delivered", "the control: the whole file is kept"])
def test_of_gits_settings_only_name_and_address_are_kept(lab: Project, tmp_path: Path, spoilt: bool) -> None:
    """An alias, a pager and an included file could run a program at the next start."""
    kept = lab.read(KEPT)
    removal = 'rm -rf "$kept/.gitconfig" "$kept/.gitconfig.lock"\n'
    careless = re.sub(re.escape(removal) + ".*\n", "", kept)
    assert careless != kept
    layer = with_server(lab, tmp_path, "start/kept.sh", careless if spoilt else kept)
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        for setting in (
            "user.name 'Ada Lovelace'",
            "user.email ada@lab.example",
            "alias.status '!touch /tmp/ran'",
            "core.pager /home/jovyan/notebooks/pager",
            "include.path /home/jovyan/notebooks/more",
        ):
            twin.shell(f"git config --global {setting}")
        twin.serve_again()
        twin.serve_again()  # what was kept once is kept again
        assert (twin.shell("git config --global --list") == IDENTITY) is not spoilt


@pytest.mark.nightly
def test_the_lab_starts_whatever_is_left_in_place_of_gits_settings(lab: Project, tmp_path: Path) -> None:
    """A named pipe would block a reader, and a link could lead to an endless file. After that, git keeps a name."""
    with beside(lab, tmp_path) as twin:
        twin.serve()
        file = "/var/lib/lab/$(id -u)/.gitconfig"
        for planted in ("mkfifo F", "ln -s /dev/zero F", "mkdir F", "echo [ >F; echo >F.lock"):
            twin.shell(f"rm -rf {file}; {planted.replace('F', file)}")
            twin.serve_again()
            assert twin.shell("git config --global --list 2>&1 || true") == UNSET, planted
        twin.shell("git config --global user.name Ada")
        twin.serve_again()
        assert twin.shell("git config --global user.name") == "Ada\n"
