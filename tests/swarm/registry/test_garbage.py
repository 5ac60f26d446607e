"""Making room in the registry, cut off at every step: what is needed is there, and the next time does the rest."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from labkit import images
from labkit.errors import MachineError, SwarmError
from labkit.events import Event
from labkit.lab.state import State
from labkit.machines.host.sandbox import give
from labkit.servers.parts import storage
from labkit.servers.parts.bundled import collect_command
from labkit.servers.parts.processes import Part
from labkit.swarm.registry.push_client import PushClient
from tests.rig.fleet import WRITER, until
from tests.rig.registry import Rig, digest_of

pytestmark = pytest.mark.engine

SHARED = b"in both"
WASTE = 400
"""Blobs that nobody names: a sweep of so many lines stands still in a pipe of one page until somebody reads."""
PAGE_B = 4096
CLONE_NEWNS = 0x20000


@pytest.fixture
def rig(tree: Path, tmp_path: Path) -> Iterator[Rig]:
    """A registry with ``app:kept`` and, deleted but not collected, ``app:old``; it runs."""
    rig = Rig(tmp_path)
    rig.start()
    try:
        rig.push("kept", [SHARED, b"kept"])
        old = rig.push("old", [SHARED, b"old"])
        assert rig.delete(old) == 202
        waste(rig)
        yield rig
    finally:
        rig.close()


def waste(rig: Rig) -> None:
    for number in range(WASTE):
        data = b"waste %d" % number
        digest = digest_of(data).removeprefix("sha256:")
        place = rig.data / "blobs/sha256" / digest[:2] / digest
        place.mkdir(parents=True)
        (place / "data").write_bytes(data)
    give(rig.state.data / "registry", WRITER, 0o755)


def finish(rig: Rig) -> None:
    """The next lab start, and the next collection: all is whole, new images can be pushed, nothing is left over."""
    rig.start()
    wanted = rig.pull("kept")
    rig.push("new", [SHARED, b"old", b"waste 7"])
    wanted |= rig.pull("new")
    rig.kill()
    asyncio.run(storage.collect(rig.state, WRITER))
    assert rig.blobs() == wanted
    rig.start()
    assert rig.pull("kept") | rig.pull("new") == wanted and rig.tags() == {"kept", "new"}


def test_cut_off_before_anything_was_freed(rig: Rig) -> None:
    """Images deleted, and then nothing more: a killed ``./lab swarm gc``."""
    rig.kill()
    finish(rig)


@pytest.mark.parametrize(("word", "lines"), [("marking", 1), ("eligible", 1), ("eligible", 100), ("eligible", 330)])
def test_cut_off_while_it_marks_and_sweeps(rig: Rig, word: str, lines: int) -> None:
    rig.kill()
    before = rig.blobs()
    command = collect_command(images.tree(), rig.state, WRITER).words()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as process:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PAGE_B)
        seen = 0
        while seen < lines:
            line = b""
            while not line.endswith(b"\n"):
                line += process.stdout.read(1) or pytest.fail("it ended before it was killed")
            seen += word.encode() in line
        process.kill()
    left = rig.blobs()
    assert left < before or lines < 3
    assert len(left) > 30, "there was more to do"
    finish(rig)


def test_the_registry_killed_in_the_middle_of_a_deletion(rig: Rig) -> None:
    """Its tags go after the image: some then name what is not there, and could never be deleted."""
    doomed = rig.push("doomed", [b"doomed"])
    tags = rig.data / "repositories/app/_manifests/tags"
    for number in range(600):
        shutil.copytree(tags / "doomed", tags / f"content-{number}")
    revision = rig.data / "repositories/app/_manifests/revisions/sha256" / doomed.removeprefix("sha256:") / "link"

    def delete() -> None:
        with suppress(requests.RequestException):
            rig.delete(doomed)

    asking = threading.Thread(target=delete)
    asking.start()
    until(lambda: not revision.exists(), every_s=0.0005)
    rig.kill()
    asking.join()
    rig.start()
    assert len(rig.tags()) > 2 and rig.delete(doomed) == 404, "cut off in between"
    registry = PushClient(rig.state.push)
    registry.delete("app", doomed)
    rig.kill()
    with pytest.raises(SwarmError, match="cannot use the registry") as error:
        registry.delete("app", doomed)
    assert "./lab status" in error.value.fix
    finish(rig)


def test_what_a_power_cut_leaves_empty(rig: Rig) -> None:
    """The registry's own collection would end at the first of them, for ever; what is whole beside it is mended."""
    digests = {name: rig.push(name, [name.encode()]).removeprefix("sha256:") for name in ("torn", "hollow", "bare")}
    rig.kill()
    app, layer = rig.data / "repositories/app", digest_of(b"torn").removeprefix("sha256:")
    hollow = digests["hollow"]
    for link in (
        app / f"_manifests/revisions/sha256/{digests['torn']}/link",
        app / f"_layers/sha256/{layer}/link",
        rig.data / f"blobs/sha256/{hollow[:2]}/{hollow}/data",
        app / "_manifests/tags/bare/current/link",
    ):
        assert link.stat().st_size
        link.write_text("")
    command = collect_command(images.tree(), rig.state, WRITER)
    assert subprocess.run(command.words(), capture_output=True, check=False).returncode == 1
    asyncio.run(storage.collect(rig.state, WRITER))
    rig.start()
    assert rig.tags() == {"kept", "torn"} and rig.pull("kept") and rig.pull("torn")
    for name in ("hollow", "bare"):
        assert rig.push(name, [name.encode()]) == f"sha256:{digests[name]}" and rig.pull(name)


def test_a_registry_that_nothing_was_pushed_to(tree: Path, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert asyncio.run(storage.collect(rig.state, WRITER)) == 0


def test_on_a_disk_that_cannot_be_written(rig: Rig) -> None:
    """It is refused with the place, and what is there can be pulled."""
    rig.kill()
    data = rig.state.data / "registry"
    errors: list[SwarmError] = []

    def locked() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(CLONE_NEWNS) == 0
        for words in (["--make-rprivate", "/"], ["--bind", data, data], ["-o", "remount,ro,bind", data]):
            subprocess.run(["mount", *words], check=True)
        try:
            asyncio.run(storage.collect(rig.state, WRITER))
        except SwarmError as error:
            errors.append(error)
        rig.start()
        assert rig.pull("kept")
        rig.kill()
        errors.append(SwarmError("pulled"))

    thread = threading.Thread(target=locked)
    thread.start()
    thread.join()
    assert [error.what[:43] for error in errors] == ["the registry's garbage collection ended wit", "pulled"]
    finish(rig)


def collector() -> int:
    """The process that collects, a child of ours; 0 while there is none."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with suppress(OSError):
                if b"garbage-collect" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
    return 0


def test_the_registry_is_back_whatever_became_of_the_collection(rig: Rig) -> None:
    """Killed in its sweep; two at once; and one that cannot start at once after it. Blades pull all the while."""
    owner = rig.processes.pop()
    owner.kill()
    owner.wait()
    said: list[Event] = []

    async def story() -> None:
        part = Part(storage.push(rig.state, WRITER), said.append)
        await part.start()
        try:
            await killed(part, rig.state)
            await two_at_once(part)
            await cannot_start(part)
            await asyncio.to_thread(use)
        finally:
            await part.stop()

    def use() -> None:
        assert rig.pull("kept") and rig.push("new", [b"new"])

    async def killed(part: Part, state: State) -> None:
        log = state.logs / "registry-push.log"
        log.rename(log.with_suffix(".before"))
        os.mkfifo(log)
        reader = os.open(log, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PAGE_B)
        with pytest.raises(SwarmError, match="ended with status -9; every image that is needed") as error:
            async with part.held():
                assert not part.pid and not rig.answers()
                doing = asyncio.create_task(storage.collect(rig.state, WRITER))
                while len(rig.blobs()) > WASTE - 10:  # it stands still once the pipe is full
                    await asyncio.sleep(0.01)
                assert await asyncio.to_thread(rig.pull, "kept")
                os.kill(collector(), signal.SIGKILL)
                os.read(reader, 1 << 16)
                log.unlink()
                await doing
        os.close(reader)
        assert "./lab swarm gc --yes once more" in error.value.fix
        assert part.pid
        await asyncio.to_thread(use)

    async def two_at_once(part: Part) -> None:
        running = 0

        async def one() -> None:
            nonlocal running
            async with part.held():
                running += 1
                assert running == 1 and not part.pid
                await storage.collect(rig.state, WRITER)
                assert running == 1 and not part.pid
                running -= 1

        await asyncio.gather(one(), one())
        assert part.pid

    async def cannot_start(part: Part) -> None:
        folder = rig.state.push.parent
        with pytest.raises(MachineError, match="registry-push cannot have its folders: File exists"):
            async with part.held():
                folder.rename(folder.with_suffix(".away"))
                folder.touch()
        folder.unlink()
        folder.with_suffix(".away").rename(folder)
        while not await asyncio.to_thread(rig.answers):
            await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(story(), 60))
