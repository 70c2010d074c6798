"""Other languages also run under the lab's seccomp profile. Their run times make other system calls than Python."""

import pytest

from tests.support.project import Project

PACKAGES = "nodejs default-jre-headless r-base-core gdb strace"
PROGRAMS = {
    # An editor's server uses worker threads, a file watcher, a server and a child process.
    "node": """
cat >/tmp/try.js <<'EOF_JS'
const {Worker} = require("worker_threads"), fs = require("fs"), http = require("http"), child = require("child_process")
const watched = new Promise(done => { const w = fs.watch("/tmp", () => { w.close(); done("watched") }) })
fs.writeFileSync("/tmp/made", "")
const code = "require('worker_threads').parentPort.postMessage('worked')"
const worked = new Promise(done => new Worker(code, {eval: true}).on("message", done))
const server = http.createServer((_, answer) => { answer.end("served"); server.close() })
const served = new Promise(done => server.listen(0, () =>
  http.get({port: server.address().port}, answer => answer.on("data", text => done(String(text))))))
const ran = new Promise(done => child.execFile("echo", ["ran"], (_, said) => done(said.trim())))
Promise.all([watched, worked, served, ran]).then(all => console.log(all.join(" ")))
EOF_JS
[ "$(node /tmp/try.js)" = "watched worked served ran" ]""",
    "java": "[ $(java -XX:+UseParallelGC -XshowSettings:system -version 2>&1 | grep -c Runtime) = 1 ]",
    "R": """[ "$(Rscript -e 'library(parallel); cat(sum(unlist(mclapply(1:4, identity, mc.cores = 2))))')" = 10 ]""",
    "gdb": """gdb --batch -ex run -ex quit --args sh -c 'exit 7' 2>&1 | grep -q 'exited with code 07'""",
    "strace": "strace -f -o /tmp/trace sh -c 'ls | cat' && grep -q execve /tmp/trace",
}


@pytest.mark.nightly
def test_other_languages_run(fresh_project: Project) -> None:
    more = f"services: {{lab: {{build: {{args: {{DEBIAN_PACKAGES: {PACKAGES}}}}}}}}}"
    fresh_project.replace("compose.override.yaml", "services: {}", more)
    fresh_project.up()
    fails = {
        name: done.stdout + done.stderr
        for name, program in PROGRAMS.items()
        if (done := fresh_project.compose("exec", "--no-TTY", "lab", "sh", "-ec", program, check=False)).returncode
    }
    assert fails == {}
