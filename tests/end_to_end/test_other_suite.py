"""README's two commands on another Debian than the one the tests run on, by a person with sudo, from nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.lab.state import State
from tests.rig.other_suite import HOME, Suite, codename, entered, other_suite
from tests.rig.person import ROOT

LAB = """\
name: other-suite
network: {subnet: 10.83.0.0/24}
storage: {share: true}
blades:
  - {name: blade1, hardware: red, boot: pxelinux}
"""
"""A blade as the article's, over TFTP to its last byte: nothing is as slow, and all of it is tried here at once."""
LAB_FOLDER = f"{HOME}/lab of mine"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with other_suite() as suite:
        yield suite


def checked(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args[-3:]}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.mark.notebook
@pytest.mark.apart(minutes=9)
def test_the_front_door_opens_from_nothing(suite: Suite) -> None:
    checked(suite("mkdir", LAB_FOLDER))
    folder = suite.root / LAB_FOLDER[1:]
    (folder / "lab.yaml").write_text(LAB)
    os.chown(folder / "lab.yaml", folder.stat().st_uid, folder.stat().st_gid)
    said = checked(suite(f"{HOME}/labkit/lab", "run", folder=LAB_FOLDER, timeout_s=1200))
    [row] = [line.split() for line in said.splitlines() if line.startswith("blade1")]
    assert row[-1] == "200" and "ready" in row
    checked(suite(f"{HOME}/labkit/lab", "down", folder=LAB_FOLDER, timeout_s=120))
    assert suite.processes() == []
    assert f"lab{State(Path(LAB_FOLDER, '.lab')).tag}" not in [link.name for link in Path("/sys/class/net").iterdir()]


@pytest.mark.soak
def test_the_fast_tests_pass(suite: Suite) -> None:
    said = checked(suite("./lab", "test", "--fast", "-q", folder=f"{HOME}/labkit", timeout_s=1200))
    assert " passed" in said.splitlines()[-1]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A root with a few of this machine's programs."""
    for name in ("dev", "mnt", "proc", "run", "sys", "tmp"):
        (tmp_path / name).mkdir()
    for program in ("env", "sh", "sleep", "umount"):
        path = Path(shutil.which(program) or program).resolve()
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for source, target in [
            (str(path), f"/bin/{program}"),
            *((library, library) for library in LIBRARY.findall(listed)),
        ]:
            (tmp_path / target[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / target[1:])
    return tmp_path


LIBRARY = re.compile(r"(/\S+) \(0x")
BACKGROUND = "sleep 1000 >/dev/null 2>&1 &"


@pytest.mark.netns
@pytest.mark.parametrize("error", [AssertionError(), KeyboardInterrupt(), subprocess.TimeoutExpired("x", 1)])
def test_what_runs_in_there_ends_with_the_block(small: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), entered(small) as suite:
        assert suite.as_root("sh", "-c", BACKGROUND).returncode == 0
        assert len(inside(small)) > 1
        raise error
    assert inside(small) == []
    shutil.rmtree(small)


@pytest.mark.netns
def test_what_runs_in_there_ends_with_the_tests(small: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from tests.rig.other_suite import entered
with entered(Path({str(small)!r})) as suite:
    suite.as_root("sh", "-c", {BACKGROUND!r})
    print("entered", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"entered\n"
        assert len(inside(small)) > 1
        tests.kill()
    end = time.monotonic() + 20
    while inside(small) and time.monotonic() < end:
        time.sleep(0.02)
    assert inside(small) == []


def inside(root: Path) -> list[int]:
    """The processes whose root this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "root").samefile(root):
                found.append(int(process.name))
        except OSError:  # it ended while we looked
            continue
    return found


@pytest.mark.parametrize(
    ("line", "suite"),
    [("VERSION_CODENAME=bookworm", "trixie"), ("VERSION_CODENAME=trixie", "bookworm"), ("ID=ubuntu", "bookworm")],
)
def test_the_other_suite(line: str, suite: str) -> None:
    assert codename(f"NAME=x\n{line}\n") == suite
