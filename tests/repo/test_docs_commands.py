"""The commands of the docs work: a test runs every block of POSIX shell on every page.

A test that types a page names it, `@pytest.mark.types("docs/…")`. Its `reader` fails the test if it leaves out a block.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import shared
from tests.support.build_sources import registry
from tests.support.page_commands import FENCE, Person, Reader, blocks, person
from tests.support.project import Project
from tests.support.repository import ROOT, git
from tools.address import TEMPLATE
from tools.demo import running_lab

IN_PROJECT = [*(ROOT / "template").rglob("README.md"), *(ROOT / "template").rglob("README.md.jinja")]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *IN_PROJECT])
LANGUAGES = {"sh", "powershell", "python", "ini", "text", "yaml"}
ADA = {"name": "iris-study-7c5a17", "port": "9791"}  # what `make env` chooses in /home/ada/iris-study
ADA_COMMITS = "git -c user.name=Ada -c user.email=ada@lab.example commit"
COMMIT = f"git init --quiet; git add --all; {ADA_COMMITS} --quiet --message start"
DOWN = ("docker", "compose", "down", "--volumes", "--timeout", "0")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


def untyped(pages: dict[str, str], tests: str) -> list[str]:
    """The pages with a block of shell that no test names as typed."""
    said = re.findall(r'pytest\.mark\.types\("([^"]+)"\)', tests)
    return [page for page, text in pages.items() if blocks(text) and page not in said]


def disguised(text: str) -> list[str]:
    """The fences of a page that could contain commands which no test sees."""
    fences = re.findall(r"^.*```.*$", text, re.MULTILINE)
    opening = {f"```{language}" for language in LANGUAGES}
    return [fence for fence in fences if fence not in opening and fence != "```"] + [
        block for language, block in FENCE.findall(text) if not language
    ]


# --- every page and block ----------------------------------------------------------------------------
def test_every_page_with_commands_is_typed() -> None:
    pages = {shown(page): page.read_text(encoding="utf-8") for page in PAGES}
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert untyped(pages, tests) == []


def test_a_page_without_a_test_is_noticed() -> None:
    pages = {"a.md": "```sh\nmake up\n```\n", "b.md": "```sh\nmake up\n```\n", "c.md": "```ini\nA=1\n```\n"}
    assert untyped(pages, '@pytest.mark.types("b.md")') == ["a.md"]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_no_command_hides_in_another_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert disguised(text) == []
    for block in blocks(text):
        assert subprocess.run(["sh", "-n"], input=block, text=True).returncode == 0, block


def test_a_hidden_command_is_noticed() -> None:
    assert disguised("```sh\nmake up\n```\n") == []
    assert disguised("```bash\nmake up\n```\n") == ["```bash"]
    assert disguised("1. first\n   ```sh\n   make up\n   ```\n") == ["   ```sh", "   ```"]
    assert disguised("```\nmake up\n```\n") == ["make up\n"]


def test_a_block_that_fails_or_is_left_out_is_noticed(tmp_path: Path) -> None:
    somebody = Reader(["true", "make nothing\ntrue", "true"], tmp_path, {"HOME": str(tmp_path)})
    with pytest.raises(AssertionError, match="make nothing"):
        somebody.type()
    with pytest.raises(AssertionError, match="a block is left out"):
        somebody.done()


# --- the pages --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def somebody(engine: None, template: Path) -> Iterator[Person]:
    """The ordinary user who reads the pages."""
    with person(template) as found:
        yield found


@pytest.fixture
def reader(request: pytest.FixtureRequest, somebody: Person) -> Iterator[Reader]:
    """A reader of the page in the test's marker, in a new project. For the tutorial, the folder is empty."""
    page = request.node.get_closest_marker("types").args[0]
    desk = folder = somebody.home / re.sub(r"\W+", "-", f"{page.partition('.')[0]}-{request.node.name}").strip("-")
    if not page.startswith("docs/tutorial"):
        folder = somebody.project(desk / "iris-study")
    rendered = folder / page.removeprefix("template/").removesuffix(".jinja")
    text = (rendered if page.startswith("template/") else ROOT / page).read_text(encoding="utf-8")
    found = somebody.read(text, folder)
    yield found
    for file in desk.glob("*/compose.yaml"):
        subprocess.run(DOWN, cwd=file.parent, capture_output=True)
        shared.leave(Project(file.parent, {"project_slug": "iris-study"}).compose_name())
    found.done()


def run_a_notebook(reader: Reader) -> None:
    """Change the example as a run of all cells does: it gets an output, which contains data."""
    file = reader.folder / "notebooks/iris.ipynb"
    notebook = json.loads(file.read_text())
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell |= {"execution_count": 1, "outputs": [{"name": "stdout", "output_type": "stream", "text": ["patient 7\n"]}]}
    file.write_text(json.dumps(notebook))


def committed_without_outputs(reader: Reader) -> bool:
    """Neither git's history nor the folder contains what a notebook printed, and everything is committed."""
    assert "notebooks/iris.ipynb" in reader.run("git ls-files")
    return reader.run("git log --all --format=%h -S 'patient 7'; git status --porcelain") == ""


def as_ada_sees_it(printed: str) -> str:
    """What commands printed, with the name, ids and port that the tutorial shows."""
    printed = re.sub(r"iris-study-[0-9a-f]{6}", ADA["name"], printed)
    printed = re.sub(r"(?<=[ug]id )\d+", "1000", printed)
    return re.sub(r"(?<=port )\d+|(?<=127\.0\.0\.1:)\d+", ADA["port"], printed)


def unprinted(shown: str, printed: str) -> list[str]:
    """The lines that a page shows and that no command printed."""
    return [line for line in shown.splitlines() if line not in printed.splitlines()]


def added_by_hand(text: str, lines: str) -> str:
    """A Compose file with more lines for its services."""
    for service, more in re.findall(r"^(  \w+:\n)((?:    .*\n)+)", lines, re.MULTILINE):
        assert service in text
        text = text.replace(service, service + more)
    return text


def in_lab(reader: Reader, script: str) -> str:
    """The output of a script in the reader's lab."""
    return reader.run(f"docker compose exec --no-TTY lab sh -c {shlex.quote(script)}")


@pytest.mark.nightly
@pytest.mark.types("docs/tutorial/first-lab.md")
def test_the_tutorial_leads_to_the_plot(reader: Reader) -> None:
    assert "Inst pipx" in reader.type(until="pipx install copier")
    reader.type(until="copier copy")
    page = (ROOT / "docs/tutorial/first-lab.md").read_text()
    started, checked = blocks(page, "text")
    assert unprinted(started, as_ada_sees_it(reader.type(until="make up"))) == []
    reader.type(until="jupyter_token")
    forward = (reader.home / "ssh.log").read_text()
    assert re.search(r"^localforward (\d+) \[127\.0\.0\.1\]:\1$", forward, re.MULTILINE)
    # This replaces "Run All Cells" in the browser.
    notebook = reader.folder / "notebooks/iris.ipynb"
    assert "image/png" not in notebook.read_text()
    running_lab(reader.folder).run_notebook("notebooks/iris.ipynb")
    assert "image/png" in notebook.read_text()
    assert notebook.stat().st_uid == (reader.folder / ".env").stat().st_uid
    # The file on the reader's own computer.
    (reader.folder / "measurements.csv").write_text("a,b\n")
    reader.type(until="scp")
    assert in_lab(reader, "cat ~/data/measurements.csv") == "a,b\n"
    (smaller,) = blocks(page, "ini")
    with (reader.folder / ".env").open("a") as env:
        env.write(smaller)
    assert unprinted(checked, reader.type(until="make down")) == []
    assert reader.run("docker compose ps --all --quiet") == ""


def test_a_line_that_no_command_prints_is_noticed() -> None:
    printed = "Wrote .env: iris-study-0a1b2c, uid 7, gid 8, port 9001.\nAddress: http://127.0.0.1:32768/lab\n"
    shown = f"Wrote .env: {ADA['name']}, uid 1000, gid 1000, port 9791.\nAddress: http://127.0.0.1:9791/lab\n"
    assert unprinted(shown, as_ada_sees_it(printed)) == []
    assert unprinted(f"{shown}Ready.\n", as_ada_sees_it(printed)) == ["Ready."]


def test_the_port_of_the_tutorial_is_adas() -> None:
    done = subprocess.run(["cksum"], input="/home/ada/iris-study", text=True, capture_output=True)
    number = int(done.stdout.split()[0])
    page = (ROOT / "docs/tutorial/first-lab.md").read_text()
    assert set(re.findall(r"\b9\d{3}\b", page)) == {ADA["port"]} == {str(8888 + number % 1000)}
    assert ADA["name"] == f"iris-study-{number % 16777216:06x}"


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/mounts.md")
def test_mounts(reader: Reader) -> None:
    reader.type(until="from-the-lab")
    user = reader.folder.stat()
    assert (reader.folder / "data/from-the-lab").stat().st_uid == user.st_uid
    assert "0002" in reader.type(until="for-us")
    assert (reader.folder / "data/for-us").stat().st_mode & 0o777 == 0o664
    assert (reader.folder / "data/for-us").stat().st_gid == user.st_gid
    (reader.folder.parent / "measurements").mkdir()
    (reader.folder.parent / "measurements/today.csv").write_text("a,b\n")
    reader.type(until="jovyan/measurements")
    assert in_lab(reader, "cat ~/measurements/today.csv") == "a,b\n"
    assert "Read-only" in in_lab(reader, "touch ~/measurements/new 2>&1 || true")
    reader.type()
    assert in_lab(reader, "cat ~/data/from-the-lab") == "hello\n"
    for path in ("~/data", "/workspace/data"):
        assert "Read-only" in in_lab(reader, f"touch {path}/new 2>&1 || true")


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/packages.md")
def test_packages(reader: Reader) -> None:
    reader.run("make env")
    assert re.search(r"^4\.\d+", reader.type(until="import humanize"), re.MULTILINE)
    reader.type(until="make remove")
    assert in_lab(reader, 'python -c "import humanize" 2>&1 || echo gone').endswith("gone\n")
    reader.type(until="pip install")
    assert re.search(r"^1\.\d+\.\d+$", reader.type(until="make extend"), re.MULTILINE)
    assert "bash" in reader.type(until="bash_kernel").split()
    assert re.search(r"^jq-1\.\d", reader.type(), re.MULTILINE)


@pytest.fixture
def postgres(engine: None) -> Iterator[None]:
    """The image that the page names: the real one, or a stand-in if no registry has it."""
    image = "postgres:17"
    has = subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0
    pulled = not has and subprocess.run(["docker", "pull", "--quiet", image], capture_output=True).returncode == 0
    if not has and not pulled:
        build = ["docker", "build", "--quiet", "--tag", image, ROOT / "tests/data/postgres"]
        subprocess.run(build, check=True, capture_output=True)
    yield
    if not has:
        subprocess.run(["docker", "image", "rm", image], capture_output=True)


@pytest.mark.nightly
@pytest.mark.parametrize("network", ["open", "sealed", pytest.param("allowlist", marks=pytest.mark.nightly)])
@pytest.mark.types("docs/how-to/services.md")
def test_services(postgres: None, reader: Reader, network: str) -> None:
    page = (ROOT / "docs/how-to/services.md").read_text()
    reader.run("make env")
    if network != "open":
        reader.run(f"{COMMIT}; copier update --quiet --defaults --data network={network}")
    reader.type(until="make up")
    if network != "open":
        (lines,) = blocks(page, "yaml")
        own = reader.folder / "compose.override.yaml"
        own.write_text(added_by_hand(own.read_text(), lines if network == "sealed" else lines.partition("  lab:")[0]))
        reader.run("make up")
    (code,) = blocks(page, "python")
    assert "PostgreSQL 17" in running_lab(reader.folder).run(code)
    table = code.replace("SELECT version()", "{}").replace("print(", "(").replace(".fetchone()", "")
    running_lab(reader.folder).run(table.format("CREATE TABLE kept AS SELECT 7 AS value"))
    printed = reader.type(until="psql")
    assert "(1 row)" in printed
    assert not re.search(r"->5432", printed), "the database is published"
    dump, restore = reader.left.pop(0).splitlines()
    reader.run(dump)
    running_lab(reader.folder).run(table.format("DROP TABLE kept"))
    reader.run(restore)
    assert "(7,)" in running_lab(reader.folder).run(code.replace("SELECT version()", "SELECT value FROM kept"))
    # In git, the project contains the folder `db` and nothing that is in it.
    assert reader.run("git init --quiet && git add --all && git ls-files db secrets").split() == [
        "db/.gitignore",
        "secrets/.gitkeep",
    ]
    assert (reader.folder / "db/pgdata/PG_VERSION").stat().st_uid == reader.folder.stat().st_uid
    reader.run(" ".join(DOWN[:4]))
    (reader.folder / "compose.override.yaml").write_text("services: {}\n")  # the fixture removes its image


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/token.md")
def test_token(reader: Reader) -> None:
    reader.run("make env && make up")
    file = reader.folder / "secrets/jupyter_token"
    tokens = [file.read_text()]
    while reader.left:
        reader.type(until=reader.left[0])
        tokens.append(file.read_text())
        assert running_lab(reader.folder).request("GET", "contents").status_code == 200
    assert len(set(tokens)) == 3


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/audit.md")
def test_audit(reader: Reader) -> None:
    reader.run("make env")
    reader.type(until="make up")
    assert running_lab(reader.folder).run("print(6 * 7)") == "42\n"
    lines = [json.loads(line) for line in reader.type().splitlines() if line.startswith("{")]
    assert "print(6 * 7)" in [line.get("code") for line in lines]


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/backup.md")
def test_backup(reader: Reader) -> None:
    reader.run("make env && echo LAB_UMASK=027 >>.env && make up")
    in_lab(reader, "echo measured >~/data/values.csv && echo typed >~/.bash_history && echo mine >~/notebooks/note.md")
    old = reader.folder
    token = (old / "secrets/jupyter_token").read_text()
    reader.type(until="kept.tar")
    assert ((old.parent / "lab-backup.tar.gz").stat().st_mode & 0o777) == 0o600
    # The page prints what to copy by hand, and nothing has started yet.
    assert "LAB_UMASK=027" in reader.type(until="make env").splitlines()
    assert reader.folder != old and reader.run("docker compose ps --all --quiet") == ""
    reader.run("echo LAB_UMASK=027 >>.env")
    reader.type()
    assert not (reader.folder / ".env.bak").exists()
    assert in_lab(reader, "cat ~/data/values.csv ~/.bash_history ~/notebooks/note.md") == "measured\ntyped\nmine\n"
    assert running_lab(reader.folder).token == token.strip()
    assert running_lab(reader.folder).address != running_lab(old).address


@pytest.mark.full
@pytest.mark.types("template/README.md.jinja")
def test_a_projects_readme(reader: Reader) -> None:
    assert re.search(r"^[0-9a-f]{64}$", reader.type(), re.MULTILINE), "no token is shown"


@pytest.mark.nightly
@pytest.mark.types("template/lab/README.md.jinja")
def test_a_projects_manual(reader: Reader) -> None:
    run_a_notebook(reader)
    reader.type(until="make up")
    reader.run("make down")
    reader.type(until="git commit")
    assert committed_without_outputs(reader)
    reader.type()
    assert reader.run("git status --porcelain") == ""


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/update.md")
def test_update(reader: Reader) -> None:
    reader.run("make env")
    run_a_notebook(reader)
    reader.type(until="git commit")
    assert committed_without_outputs(reader)
    run_a_notebook(reader)
    # The hook also stops the next commit of an output.
    assert "notebook-outputs" in reader.run("! git commit --all --message 'with an output' 2>&1")
    reader.run("git checkout --quiet notebooks")
    reader.type(until="check-update")
    reader.run(f"echo mine >notebooks/note.md; {COMMIT}")
    reader.type()
    assert (reader.folder / "notebooks/note.md").read_text() == "mine\n"
    assert reader.run("git diff --name-only --diff-filter=U") == ""


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/networks.md")
def test_networks(reader: Reader) -> None:
    reader.run(f"make env; {COMMIT}")
    reader.type(until="network=allowlist")
    assert "FIX" not in reader.type(until="make doctor")
    in_lab(reader, "curl --silent https://files.example.com/ || true")
    assert "files.example.com is not in egress/allowlist.txt" in reader.type(until="egress/log")
    server = "vscode-server-linux-x64"
    reader.run(f"""mkdir {server} && echo '{{"commit": "0123"}}' >{server}/product.json""")
    reader.run(f"tar -czf vscode-server.tar.gz {server}")
    reader.type()
    assert "0123" in in_lab(reader, "cat ~/.vscode-server/bin/0123/product.json")


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/tls.md")
def test_tls(reader: Reader) -> None:
    reader.run(f"make env; {COMMIT}")
    address = r"^Address: https://lab\.example\.net:\d+/lab$"
    assert re.search(address, reader.type(until="tls=self-signed"), re.MULTILINE)
    ca = (reader.folder / "certs/ca.pem").read_text()
    assert "is valid for 397 days." in reader.type(until="make certs")
    assert (reader.folder / "certs/ca.pem").read_text() == ca
    for name, source in (("fullchain.pem", "server.pem"), ("privkey.pem", "server.key")):
        reader.run(f"cp certs/{source} {name}")
    reader.run(f"git add --all; {ADA_COMMITS} --quiet --message tls")
    assert re.search(address, reader.type(), re.MULTILINE)
    assert "FIX" not in reader.run("make doctor")


@pytest.fixture
def own_address(engine: None) -> str:
    """An address of this machine that containers and the machine itself reach."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    command = ["docker", "network", "inspect", "bridge", "--format", form]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def sum_on_cluster(reader: Reader, workers: int) -> str:
    """The workers of the reader's cluster, as `contact: port`, after they computed a sum together."""
    return running_lab(reader.folder).run(
        "from distributed import Client\n"
        f"client = Client(); client.wait_for_workers({workers}, timeout=60)\n"
        "assert sum(client.gather(client.map(lambda x: x * x, range(100)))) == 328350\n"
        'print(*sorted(client.scheduler_info(n_workers=-1)["workers"]))'
    )


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/scale-out.md")
def test_scale_out(own_address: str, reader: Reader, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/scale-out.md").read_text()
    reader.run(f"make env; {COMMIT}")
    reader.type(until="scale_out=dask")
    (said,) = blocks(page, "text")
    assert unprinted(said, reader.run("! make up 2>&1")) == []
    reader.type(until="make up")
    reader.run("mkdir data/measurements")
    table = "import pandas as pd; pd.DataFrame({'place': ['a', 'b', 'a'], 'value': [1, 2, 3]})"
    running_lab(reader.folder).run(f"{table}.to_parquet('../data/measurements/0.parquet')")
    (code,) = blocks(page, "python")
    assert "a    2.0" in running_lab(reader.folder).run(f"{code}\nprint(result.compute())")
    assert "ok    notebooks/scale-out.ipynb" in reader.type(until="make run")
    reader.type(until="make scale")
    assert len(sum_on_cluster(reader, workers=4).split()) == 4
    # One machine plays both parts, so the second gets other ports.
    first, second = reader.folder, reader.folder.parent
    played = {"192.0.2.10": own_address, "CONTACT=192.0.2.11": f"CONTACT={own_address} PORT=8811"}
    for named, real in played.items():
        reader.left = [block.replace(named, real) for block in reader.left]
    reader.run(f"git add --all; {ADA_COMMITS} --quiet --message cluster")
    try:
        reader.type(until="for-workers.tar")
        assert ((second / "for-workers.tar").stat().st_mode & 0o777) == 0o600
        reader.folder = second
        reader.type(until="make join")
        joined, reader.folder = reader.folder, first
        expected = [f"tls://{own_address}:{port}" for port in (8801, 8811, 8812)]
        assert sum_on_cluster(reader, workers=3).split() == expected
        reader.folder = joined
        assert "Workers that have left: 2." in reader.type(until="make leave")
        assert not (joined / "secrets/cluster/ca.key").exists()
    finally:
        reader.folder = first
        reader.run("make leave; [ ! -d ../lab-workers ] || { cd ../lab-workers; make leave; }")
        reader.folder = first
    swarm_of_one(reader, tmp_path)
    before = (first / "secrets/cluster/ca.pem").read_text()
    assert "are valid for 397 days." in reader.type()
    assert (first / "secrets/cluster/ca.pem").read_text() == before


def swarm_of_one(reader: Reader, folder: Path) -> None:
    """Type the part about Swarm, in a Swarm of this machine alone. The second machine gets the image from this one."""
    reader.run("sed -i /^LAB_SCHEDULER_BIND=./d .env")
    lab = reader.run("sed -n s/^LAB_NAME=//p .env").strip() + "-lab"
    try:
        with registry(folder, 5000) as address:
            played = {"registry.example.com": address, "my-lab-lab": lab, "ssh you@192.0.2.11 docker": "docker"}
            for named, real in played.items():
                reader.left = [block.replace(named, real) for block in reader.left]
            reader.type(until="docker save")
            assert "Workers in the cluster: 8." in reader.type(until="make scale")
            assert len(sum_on_cluster(reader, workers=8).split()) == 8
            reader.run(f"sed -i s,^LAB_SWARM_IMAGE=.*,LAB_SWARM_IMAGE={address}/my-lab:1, .env; make scale WORKERS=2")
            assert len(sum_on_cluster(reader, workers=2).split()) == 2
            reader.run("make down; make up")
    finally:
        reader.run("docker swarm leave --force; docker network rm docker_gwbridge; sed -i /^LAB_SWARM_IMAGE=./d .env")


@pytest.mark.nightly
@pytest.mark.types("docs/how-to/vs-code.md")
def test_vs_code(reader: Reader) -> None:
    reader.run("make env")
    run_a_notebook(reader)
    assert "The lab as it is" in reader.type(until="git -C /workspace log")
    assert committed_without_outputs(reader)
    reader.type()
    assert re.search(r"^localforward (\d+) \[127\.0\.0\.1\]:\1$", (reader.home / "ssh.log").read_text(), re.MULTILINE)


# --- this repository's README -----------------------------------------------------------------------
@pytest.fixture
def cloner(engine: None, template: Path, somebody: Person, tmp_path: Path) -> Iterator[Reader]:
    """The user who runs the tests, with the stand-ins, a home of their own and a clean clone."""
    folder = tmp_path / "clones/labdock"
    git("clone", "--quiet", str(template), str(folder), cwd=template)
    # `make test` is this suite, so pytest only collects it.
    environment = {**somebody.environment, "HOME": str(tmp_path), "PYTEST_ADDOPTS": "--collect-only --quiet"}
    found = Reader(blocks((ROOT / "README.md").read_text(encoding="utf-8")), folder, environment)
    yield found
    for project in (folder / "demo", tmp_path / "my-lab"):
        if project.exists():
            subprocess.run(DOWN, cwd=project, capture_output=True)
    found.done()


def updates_from(project: Path) -> str:
    """Where `copier update` looks for releases of the template."""
    return yaml.safe_load((project / ".copier-answers.yml").read_text())["_src_path"]


@pytest.mark.full
@pytest.mark.types("README.md")
def test_the_readme(cloner: Reader, template: Path) -> None:
    clone, cloner.folder = cloner.folder, cloner.home
    assert "Address: http://127.0.0.1:" in cloner.type(until="gh:")
    assert updates_from(cloner.home / "my-lab") == TEMPLATE
    assert "up-to-date" in cloner.run("uvx copier check-update 2>&1")
    cloner.folder = clone
    cloner.type(until="git remote")
    assert updates_from(clone.parent / "my-lab") == str(template)
    cloner.type()
    assert "image/png" in (clone / "demo/notebooks/iris.ipynb").read_text()
