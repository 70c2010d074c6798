"""The rendered project's own `make test`: green on a lab as delivered, red on a loosened one."""

import re

import pytest

from tests.support.project import Project, Render
from tests.support.refusal import answers
from tests.support.waiting import until

# What a user might change for convenience.
LOOSENED = """
services:
  lab: &loose
    read_only: false
    cap_drop: !reset []
    security_opt: !reset []
    privileged: true
    mem_limit: !reset null
    memswap_limit: !reset null
    healthcheck: !reset null
    ports: !override ["0.0.0.0:0:8888"]
    volumes: ["./secrets:/run/secrets", "/etc:/srv/etc:ro"]
    environment: {PASSED_ON: "0000000000000000000000000000000000000000000000000000000000000000"}
    build: {dockerfile: Loosened}
    tmpfs: !override ["/tmp:exec", "/run/lab:exec,mode=1777", "/home/jovyan:exec,mode=1777"]
  server:
    <<: *loose
    build: !reset null
    networks: !override [default]
  prepare:
    network_mode: bridge
"""
# Of the image as delivered.
OPEN_IMAGE = """
FROM delivered
USER 0:0
RUN chmod a+w /opt/venv/bin
USER 1000:1000
"""
# One thing at a time, and the test that notices it.
ALONE = {
    "seccomp: unconfined": ("security_opt: [seccomp=unconfined]", "test_only_allowed_system_calls_work"),
    "seccomp: the engine's": (
        "security_opt: !override [no-new-privileges:true]",
        "test_only_allowed_system_calls_work",
    ),
    "privileged": ("privileged: true", "test_the_lab_shares_nothing_with_the_host"),
    "capability": ("cap_add: [NET_ADMIN]", "test_the_lab_shares_nothing_with_the_host"),
    "host's processes": ("pid: host", "test_the_lab_shares_nothing_with_the_host"),
    "writable root": ("read_only: false", "test_the_root_is_read_only"),
    "capabilities": ("cap_drop: !reset []", "test_the_lab_has_no_capability"),
    "new privileges": (
        "security_opt: !override [seccomp=./lab/runtime/seccomp.json]",
        "test_the_lab_cannot_gain_privileges",
    ),
    "the host's settings": ('volumes: ["/etc:/srv/etc:ro"]', "test_no_mount_contains_the_hosts_system"),
    "secrets": ('volumes: ["./secrets:/run/secrets"]', "test_only_the_server_reads_the_token"),
    "core dumps": ("ulimits: {core: 1000}", "test_memory_cpus_processes_and_logs_are_limited"),
    "log": ("logging: !override {driver: json-file}", "test_memory_cpus_processes_and_logs_are_limited"),
    "scratch": (
        'tmpfs: !override ["/tmp:exec", "/run/lab", "/home/jovyan"]',
        "test_temporary_folders_are_limited_and_safe",
    ),
    "swap": ("memswap_limit: -1", "test_memory_cpus_processes_and_logs_are_limited"),
    "no memory limit": ("mem_limit: 0\n    memswap_limit: 0", "test_memory_cpus_processes_and_logs_are_limited"),
    "no CPU limit": ("cpu_quota: -1", "test_memory_cpus_processes_and_logs_are_limited"),
    "processes": ("pids_limit: -1", "test_memory_cpus_processes_and_logs_are_limited"),
    "every address": ('ports: !override ["0.0.0.0:0:8888"]', "test_the_port_is_open_on_the_chosen_address_only"),
}


@pytest.mark.full
def test_it_passes_as_delivered_and_notices_what_was_loosened(fresh_project: Project) -> None:
    fresh_project.up()
    done = fresh_project.make("test")
    passed = set(re.findall(r"^def (test_\w+)", fresh_project.read("tests/test_lab.py"), re.MULTILINE))
    assert passed
    assert re.search(r"\d+ passed in", done.stdout.splitlines()[-1])

    image = fresh_project.container()["Config"]["Image"]
    fresh_project.run("docker", "tag", image, f"{image}:delivered")
    (fresh_project.folder / "Loosened").write_text(OPEN_IMAGE.replace("delivered", f"{image}:delivered"))
    (fresh_project.folder / "compose.override.yaml").write_text(LOOSENED)
    loosened = fresh_project.up()
    # Without a health check, nothing waits for the server, which must have read its token before that is replaced.
    until(lambda: answers(loosened) is not None, "the loosened lab answers")
    fresh_project.run("docker", "image", "rm", f"{image}:delivered")
    fresh_project.compose("exec", "--detach", "--user", "0", "lab", "sleep", "infinity")
    for folder in ("data", "notebooks"):
        (fresh_project.folder / folder).chmod(0o500)
    (fresh_project.folder / "secrets/jupyter_token").write_text("0" * 64)  # not the one it was started with
    done = fresh_project.make("test", check=False)
    assert done.returncode
    assert set(re.findall(r"^FAILED tests/test_lab.py::(test_\w+)", done.stdout, re.MULTILINE)) == passed


def test_without_a_lab_it_says_how_to_start_one(fresh_project: Project) -> None:
    done = fresh_project.make("test", check=False)
    assert done.returncode
    assert "labdock: the lab is not running. Start the lab with 'make up'." in done.stderr


@pytest.mark.nightly
def test_it_notices_each_thing_alone(fresh_project: Project) -> None:
    for line, test in ALONE.values():
        service = "server" if line.startswith("ports") else "lab"
        (fresh_project.folder / "compose.override.yaml").write_text(f"services:\n  {service}:\n    {line}\n")
        fresh_project.start()
        fresh_project.environment["PYTEST_ADDOPTS"] = f"-k {test}"
        done = fresh_project.make("test", check=False)
        assert test in re.findall(r"^FAILED tests/test_lab.py::(test_\w+)", done.stdout, re.MULTILINE), line


@pytest.mark.nightly
@pytest.mark.parametrize("network", ["allowlist", "sealed"])
def test_a_lab_with_walls_passes_and_without_them_fails(default_image: None, new_project: Render, network: str) -> None:
    project = new_project(network=network)
    project.up()
    project.make("test")
    reset = "network_mode: !reset null, " if network == "sealed" else ""
    open_ = f"services: {{lab: {{{reset}networks: !override [default], environment: {{HTTPS_PROXY: ''}}}}}}\n"
    (project.folder / "compose.override.yaml").write_text(open_)
    project.up()
    done = project.make("test", check=False)
    assert done.returncode and "test_the_lab_has_no_way_to_another_network" in done.stdout
    project.down()
