"""``./lab`` as it is, in a checkout of its own: a small project in labkit's place, a small system around it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.rig.checkout import ROOT, Checkout


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose .venv is there: each worker makes it anew."""
    door = Checkout(tmp_path_factory.mktemp("door"))
    door.have_environment()
    return door


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose .venv ./lab itself has made."""
    door = Checkout(tmp_path_factory.mktemp("installed"))
    first = door.run("setup")
    assert first.returncode == 0, first.stderr
    assert "installing the locked Python packages into .venv" in first.stderr
    return door


@pytest.fixture
def bare(tmp_path: Path) -> Checkout:
    """A checkout with no .venv yet."""
    return Checkout(tmp_path)


def test_a_posix_shell_reads_it() -> None:
    subprocess.run(["dash", "-n", ROOT / "lab"], check=True)


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("not installed: shellcheck; ./lab setup installs it")
    subprocess.run(["shellcheck", ROOT / "lab", ROOT / ".ci/run"], check=True)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_changes_nothing(bare: Checkout, arguments: tuple[str, ...]) -> None:
    done = bare.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for verb in ("run", "workbook", "up", "down", "status", "setup", "test"):
        assert f"./lab {verb}" in done.stdout
    assert not (bare.path / ".venv").exists()


def test_a_python_that_is_named_is_taken_and_no_other(bare: Checkout, tmp_path: Path) -> None:
    own = tmp_path / "python of mine"
    own.write_text(f'#!/bin/sh\necho asked >>"{bare.log}"\nexit 1\n')
    own.chmod(0o755)
    environment = {**bare.environment(), "LABKIT_PYTHON": str(own)}
    done = subprocess.run(bare.command("setup"), env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and bare.log.read_text() == "asked\n"
    assert f"LABKIT_PYTHON, {own}, is no Python 3.11 or newer that has venv" in done.stderr
    assert "fix: name another, or unset it" in done.stderr


@pytest.mark.setup
def test_with_all_there_it_is_quick_and_silent(installed: Checkout) -> None:
    began = time.monotonic()
    done = installed.run("status")
    seconds = time.monotonic() - began
    own = float(installed.run("status").returncode)  # the caches are warm now
    began = time.monotonic()
    installed.run("status")
    assert (done.returncode, done.stderr, own) == (0, "", 0)
    assert min(seconds, time.monotonic() - began) < 0.3


def test_a_verb_is_passed_on_with_its_words_and_its_status(door: Checkout) -> None:
    done = door.run("explain", "blade 1", "--json")
    assert done.stdout == f"['explain', 'blade 1', '--json'] {door.path}/lab.yaml\n"
    assert door.run("fail").returncode == 7


def test_it_can_be_run_through_a_link(door: Checkout, tmp_path: Path) -> None:
    (tmp_path / "lab").symlink_to(door.path / "lab")
    done = subprocess.run(["./lab", "status"], cwd=tmp_path, env=door.environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"['status'] {door.path}/lab.yaml\n")


def test_the_lab_of_the_current_folder_comes_first(door: Checkout, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").touch()
    (tmp_path / "below").mkdir()
    assert door.run("status", cwd=tmp_path / "below").stdout == f"['status'] {tmp_path}/lab.yaml\n"


def test_an_interrupt_reaches_labkit(door: Checkout) -> None:
    with subprocess.Popen(door.command("wait"), env=door.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("['wait']")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 42


def test_what_the_tests_compile_is_kept_for_the_next(bare: Checkout) -> None:
    packages = bare.have_environment()
    for tool in ("ruff", "mypy"):
        (packages / f"{tool}.py").touch()
    (packages / "pytest.py").write_text("import sys; print(sys.dont_write_bytecode, sys.argv[-1])\n")
    bare.have("nproc", "echo 2")
    environment = {**bare.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    command = bare.command("test", "--fast", "tests/netboot")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False tests/netboot\n", "")


@pytest.mark.setup
def test_the_tests_have_the_environment_that_is_made(installed: Checkout, bare: Checkout) -> None:
    bare.have_environment()
    for name in ("made-from-lock", "made-from-project"):
        made = (installed.path / ".venv" / name).read_text()
        assert (bare.path / ".venv" / name).read_text() == made.replace(str(installed.path), str(bare.path))


@pytest.mark.setup
@pytest.mark.parametrize("damage", ["python", "lock", "project", "half"])
def test_an_environment_that_does_not_fit_is_renewed(installed: Checkout, damage: str) -> None:
    venv = installed.path / ".venv"
    if damage == "python":
        (venv / "bin/python").unlink()
    elif damage == "half":  # the first try was interrupted
        (venv / "made-from-lock").unlink()
    else:
        path = installed.path / {"lock": "requirements.lock", "project": "pyproject.toml"}[damage]
        path.write_text(path.read_text() + "# changed\n")
    done = installed.run("status")
    assert (done.returncode, done.stdout[:10]) == (0, "['status']")
    assert ("installing" in done.stderr) == (damage != "project")
    assert installed.run("status").stderr == ""


@pytest.mark.setup
def test_a_moved_checkout_gets_a_new_environment(bare: Checkout) -> None:
    assert bare.run("setup").returncode == 0
    moved = bare.path.with_name("moved")
    bare.path.rename(moved)
    bare.path = moved
    done = bare.run("status")
    assert (done.returncode, done.stdout) == (0, f"['status'] {moved}/lab.yaml\n")


@pytest.mark.setup
def test_an_environment_that_cannot_be_made_is_tried_again(bare: Checkout) -> None:
    backend = (bare.path / "backend.py").read_text()
    (bare.path / "backend.py").write_text("def build_editable(*_): raise SystemExit('no disk')\n")
    done = bare.run("status")
    assert done.returncode == 1
    assert "the Python packages could not be installed\n  fix: " in done.stderr
    (bare.path / "backend.py").write_text(backend)
    assert bare.run("status").returncode == 0


def test_missing_packages_are_named_and_installed(door: Checkout) -> None:
    door.have_debian(without="openipmi")
    done = door.run("status")
    door.have_debian(without="")
    assert done.returncode == 0
    assert "lab: installing Debian packages: openipmi" in done.stderr
    assert "install --no-install-recommends -y openipmi" in door.log.read_text()


def test_packages_of_the_tests_are_installed_for_tests_only(door: Checkout) -> None:
    door.have_debian(without="tcpdump")
    status, setup = door.run("status"), door.run("setup")
    door.have_debian(without="")
    assert status.stderr == ""
    assert "lab: installing Debian packages: tcpdump" in setup.stderr


@pytest.mark.parametrize(("release", "wanted"), [("ID=debian", True), ("ID=ubuntu", False), ("ID_LIKE=ubuntu", False)])
def test_ubuntu_is_not_asked_for_a_package_that_it_has_as_a_snap(door: Checkout, release: str, wanted: bool) -> None:
    door.have("apt-get", "exit 0")
    door.have("dpkg-query", "exit 1")
    door.have("cat", f'[ $1 = /etc/os-release ] || exec {shutil.which("cat")} "$@"; echo {release}')
    done = door.run("setup")
    door.have_debian(without="")
    (door.bin / "cat").unlink()
    (door.bin / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    [asked] = [line.split() for line in done.stderr.splitlines() if "installing Debian packages: atftp " in line]
    assert ("chromium" in asked) == wanted
    assert asked[-1] == "udhcpc", "all the others, to the last"


def test_apt_failing_is_said(door: Checkout) -> None:
    door.have_debian(without="openipmi")
    door.have("apt-get", "echo 'E: no network' >&2; exit 100")
    done = door.run("status")
    door.have_debian(without="")
    assert done.returncode == 1
    assert "E: no network" in done.stderr
    assert "apt-get could not install: openipmi" in done.stderr


def test_root_is_asked_for_through_sudo_only_where_needed(door: Checkout) -> None:
    door.have("id", "echo 1000")
    (door.bin / "sudo").unlink(missing_ok=True)
    try:
        door.have_debian(without="openipmi")
        done = door.run("status")
        assert done.returncode == 1
        assert "this needs root, and there is no sudo here\n  fix: as root: " in done.stderr
        door.have_debian(without="")
        door.have("sudo", f'echo "sudo $*" >> {door.log}; case $1 in -n) shift ;; esac; shift; exec "$@"')
        door.log.write_text("")
        assert door.run("status").returncode == 0
        assert door.log.read_text() == ""
        done = door.run("up", "--quiet")
        assert done.stdout == f"['up', '--quiet'] {door.path}/lab.yaml\n"
        assert "'up' needs root: " in done.stderr
        assert f"\nsudo -- env LABKIT_LAB={door.path}/lab.yaml " in door.log.read_text()
        assert "PYTHONDONTWRITEBYTECODE=1" in door.log.read_text()
        assert "'images' needs root: it makes a system from packages" in door.run("images", "build").stderr
        for words in (("images",), ("images", "verify"), ("images", "build", "--help")):
            done = door.run(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
    finally:
        door.have_root()


REFUSALS = {
    "no terminal": ("exit 1", "sudo cannot ask for a password: there is no terminal"),
    "refused": ("case $1 in -n) exit 0 ;; esac; echo 'me: not in the sudoers file' >&2; exit 1", "not in the sudoers"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_sudo_that_refuses_is_told(door: Checkout, why: str) -> None:
    sudo, said = REFUSALS[why]
    door.have("id", "echo 1000")
    door.have("sudo", sudo)
    try:
        done = subprocess.run(
            door.command("up"), cwd=door.elsewhere, env=door.environment(), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    finally:
        door.have_root()
    assert done.returncode == 1
    assert said in done.stderr


def test_a_lab_that_is_up_asks_for_no_root(door: Checkout, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    door.have("id", "echo 1000")
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "run/control.sock"))
            done = subprocess.run(
                door.command("run"), cwd=door.elsewhere, env={**door.environment(), "LABKIT_STATE": str(tmp_path)},
                capture_output=True, text=True,
            )  # fmt: skip
    finally:
        door.have_root()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_that_python_cannot_be_in_is_told(bare: Checkout) -> None:
    bare.path = bare.path.rename(bare.path.with_name("a:b"))
    done = bare.run("status")
    assert (done.returncode, "has a colon or a line break" in done.stderr) == (1, True)
    assert not (bare.path / ".venv").exists()


@pytest.mark.setup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_root_leaves_nothing_of_its_own_in_somebodys_checkout(bare: Checkout) -> None:
    for path in (bare.path, *bare.path.iterdir()):
        os.chown(path, 1234, 1234)
    assert bare.run("setup").returncode == 0
    assert {path.lstat().st_uid for path in bare.path.rglob("*")} == {1234}


def test_another_system_is_told_what_it_lacks(bare: Checkout) -> None:
    (bare.bin / "apt-get").unlink()
    done = bare.run("status")
    assert done.returncode == 1
    assert "neither Debian nor Ubuntu" in done.stderr
    assert "mmdebstrap (mmdebstrap), " in done.stderr
    assert "fix: files are looked for where Debian has them" in done.stderr
    assert not (bare.path / ".venv").exists()


def test_another_kernel_is_told_that_it_cannot_be(bare: Checkout) -> None:
    bare.have("uname", "echo Darwin")
    done = bare.run("status")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1, "lab: labkit needs Linux: its labs live in network namespaces",
    )  # fmt: skip
