"""Docker's own client against the controller's engine: which one, in which environment, and with which words."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labkit import images
from labkit.cli import commands
from labkit.cli.swarm import docker_client
from labkit.errors import ImageError, MachineError
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers import client
from labkit.servers.client import RunningLab
from labkit.servers.controller import docker_client as servers

VIRTUAL = "blades: [{name: blade1}]\n"
REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
chassis: {kind: ipmi}
blades: [{name: blade1, slot: 1, macs: ["52:54:00:00:00:01"], bmc: {address: 10.0.40.101, password_file: bmc}}]
"""


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "it's #1")
    state.make()
    return state


@pytest.fixture
def running(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> RunningLab:
    lab = RunningLab(lab_yaml.parse(VIRTUAL, tmp_path / "lab.yaml"), state)
    monkeypatch.setattr(client, "connect", lambda *paths: lab)
    return lab


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose loader is a shell script that says how it was called; its links are the tree's own."""
    tree = tmp_path / "a:b" / "tree"
    for name in ("usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/bin"):
        (tree / name).mkdir(parents=True)
    (tree / "lib64").symlink_to("usr/lib64")
    (tree / "lib").symlink_to("/usr/lib")
    (tree / "usr/lib64/ld-linux-x86-64.so.2").symlink_to("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    loader = tree / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    loader.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; ls "$4"; echo "$DOCKER_HOST"; exit 7\n')
    loader.chmod(0o755)
    (tree / "usr/bin/docker").write_text("")
    monkeypatch.setattr(images, "tree", lambda: tree)
    return tree


def test_the_client_of_the_tree_runs_with_the_trees_libraries(running: RunningLab, tree: Path, state: State) -> None:
    command = servers.docker_command(running.lab)
    try:
        done = subprocess.run(
            [*command, "ps", "--help"], env=servers.docker_environment(running.lab, state, {"DOCKER_TLS_VERIFY": "1"}),
            pass_fds=servers.descriptor_of(command), capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        for held in servers.descriptor_of(command):
            os.close(held)
    said = done.stdout.splitlines()
    assert done.returncode == 7 and said[:3] == ["--argv0", "docker", "--library-path"]
    assert said[5:7] == ["ps", "--help"] and said[-1] == f"unix://{state.docker}"
    assert "ld-linux-x86-64.so.2" in said, "the libraries' folder is there"


def test_the_real_client_runs_so(running: RunningLab) -> None:
    trees = sorted(images.cache_folder().glob("labos/*/tree"))
    if not trees:
        pytest.skip("the blade OS has not been built on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "tree", lambda: trees[-1])
        command = servers.docker_command(running.lab)
    try:
        done = subprocess.run(
            [*command, "--version"],
            pass_fds=servers.descriptor_of(command),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for held in servers.descriptor_of(command):
            os.close(held)
    assert done.returncode == 0 and done.stdout.startswith("Docker version "), done.stderr


def test_a_tree_without_a_client_is_told(running: RunningLab, tree: Path) -> None:
    (tree / "usr/bin/docker").unlink()
    with pytest.raises(ImageError, match="no client of Docker"):
        servers.docker_command(running.lab)


def test_a_real_lab_takes_this_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bmc").write_text("x\n")
    lab = lab_yaml.parse(REAL, tmp_path / "lab.yaml")
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/{name}")
    assert servers.docker_command(lab) == ["/opt/docker"] and servers.descriptor_of(["/opt/docker"]) == ()
    assert servers.docker_host(lab, State(tmp_path)) == "unix:///var/run/docker.sock"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MachineError, match="not installed on this machine"):
        servers.docker_command(lab)


@pytest.mark.parametrize(
    ("given", "ours", "dockers"),
    [
        (["docker"], ["docker"], []),
        (["docker", "ps", "-a"], ["docker"], ["ps", "-a"]),
        (["docker", "--help"], ["docker"], ["--help"]),
        (["--lab", "x", "docker", "-D", "ps"], ["--lab", "x", "docker"], ["-D", "ps"]),
        (["--lab=docker", "--state", "d", "docker", "--lab"], ["--lab=docker", "--state", "d", "docker"], ["--lab"]),
        (["docker-env", "--unset"], ["docker-env", "--unset"], []),
        (["ssh", "blade1", "docker", "ps"], ["ssh", "blade1", "docker", "ps"], []),
        ([], [], []), (["--lab"], ["--lab"], []),
    ],
)  # fmt: skip
def test_all_words_behind_docker_are_dockers(given: list[str], ours: list[str], dockers: list[str]) -> None:
    assert docker_client.split(given) == (ours, dockers)


def test_the_verb_becomes_the_client(running: RunningLab, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def execve(*given: Any) -> None:
        called.append(given)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    monkeypatch.setenv("HOME", "/home/me")
    assert commands.main(["docker", "service", "ls", "--help"]) == 0
    ((program, words, environment),) = called
    os.close(servers.descriptor_of([program])[0])
    assert words[-3:] == ["service", "ls", "--help"] and "DOCKER_CONTEXT" not in environment
    assert environment["HOME"] == "/home/me", "who is logged in to a registry stays so"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_a_shell_is_set_and_set_back(
    running: RunningLab, state: State, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert commands.main(["docker-env", "--shell", "sh"]) == 0
    lines = capsys.readouterr().out
    assert commands.main(["docker-env", "--shell", "sh", "--unset"]) == 0
    back = capsys.readouterr().out
    script = 'eval "$SET"; echo "$DOCKER_HOST ${DOCKER_CONTEXT-none}"; eval "$BACK"; echo "${DOCKER_HOST-none}"'
    environment = {"SET": lines, "BACK": back, "DOCKER_CONTEXT": "x", "PATH": os.environ["PATH"]}
    said = subprocess.run([shell, "-ec", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"unix://{state.docker} none", "none"]


def test_fish_has_words_of_its_own(
    running: RunningLab, state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert commands.main(["docker-env"]) == 0
    said = capsys.readouterr().out
    quoted = str(state.docker).replace("'", "\\'")
    assert f"set -gx DOCKER_HOST 'unix://{quoted}'" in said and "set -e DOCKER_CONTEXT" in said
    assert "./lab docker-env | source" in said
