"""Running the builders' programs: nothing of them is left. Needs root, for their namespaces."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.errors import ImageError, MachineError
from labkit.images.build import tools

pytestmark = pytest.mark.netns


def alive(mark: str) -> bool:
    """Whether a process has this on its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_bytes().decode(errors="replace").split("\0"):
                return True
        except OSError:  # it ended while we looked
            continue
    return False


def test_what_it_said_comes_back_line_by_line() -> None:
    lines: list[str] = []
    assert tools.run_tool(["sh", "-c", "echo one; echo two >&2"], on_line=lines.append) == "one\ntwo"
    assert lines == ["one", "two"]


def test_a_failure_carries_the_last_lines() -> None:
    with pytest.raises(ImageError, match="E: broken"):
        tools.run_tool(["sh", "-c", "echo E: broken; exit 3"])


def test_an_unreachable_archive_is_explained() -> None:
    with pytest.raises(ImageError) as caught:
        tools.run_tool(["sh", "-c", "echo E: Failed to fetch; exit 100"])
    assert "cannot be reached" in caught.value.fix


def test_no_space_is_an_oserror() -> None:
    with pytest.raises(OSError) as caught:
        tools.run_tool(["sh", "-c", "echo tar: write error: No space left on device; exit 2"])
    assert caught.value.errno == errno.ENOSPC


def test_an_interruption_ends_the_program_and_its_children() -> None:
    mark = f"labkit-test-{time.time_ns()}"

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools.run_tool(
            ["sh", "-c", f"sh -c 'trap \"\" TERM INT; sleep 60; true' {mark} & echo go; wait"], on_line=interrupt
        )
    assert not alive(mark)


def test_a_killed_builder_takes_its_program_along() -> None:
    mark = f"labkit-test-{time.time_ns()}"
    tool = ["sh", "-c", "echo running; sleep 60; true", mark]
    imported = "from labkit.images.build.tools import run_tool"
    script = f"{imported}; run_tool({tool!r}, on_line=lambda line: print(line, flush=True))"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"running\n"
        assert alive(mark)
        builder.kill()
    end = time.monotonic() + 20
    while alive(mark) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(mark)


def test_mounts_stay_inside(tmp_path: Path) -> None:
    tools.run_tool(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)])
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_without_root_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="sudo"):
        tools.check_tools()


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"apt-get install .*mmdebstrap squashfs-tools"):
        tools.check_tools()
