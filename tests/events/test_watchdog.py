"""What ends a part and what does not: threads, tasks and callbacks that die, and faults that one client causes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.errors import SwarmError
from labkit.events import Emitter, Event, LabEvent, Part, Stream, Trouble
from labkit.events.watchdog import FAULT, Vital, lasting
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox, Users
from labkit.netboot.arp import Prober
from labkit.servers.parts.processes import Part as Kept
from labkit.servers.parts.processes import PartSpec
from labkit.servers.supervisor import Supervisor


class Watched:
    """A part that notes what it told, and with which status it would have ended."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.left: list[int] = []
        self.vital = Vital("bootd", self.told.append, self.left.append)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = threading.excepthook
        try:
            self.vital.run(main())
        finally:
            threading.excepthook = before

    @property
    def details(self) -> list[str]:
        return [event.detail for event in self.told if isinstance(event, Trouble) and event.part == "bootd"]


def fail(*_: object) -> None:
    raise RuntimeError("a fault")


def test_a_thread_that_dies_ends_the_part(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        threads = [threading.Thread(target=fail, name=f"thread{number}") for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    watched = Watched()
    watched.run(main)
    assert watched.left == [FAULT]
    [detail] = watched.details
    assert detail.startswith("the thread thread") and "died: RuntimeError: a fault (test_watchdog.py, line " in detail
    assert capfd.readouterr().err.count("Traceback") == 1


def test_a_thread_that_is_told_to_exit_does_not() -> None:
    async def main() -> None:
        thread = threading.Thread(target=sys.exit)
        thread.start()
        await asyncio.to_thread(thread.join)

    watched = Watched()
    watched.run(main)
    assert not watched.left and not watched.told


def test_a_callback_of_ours_that_dies_ends_the_part() -> None:
    async def main() -> None:
        prober = Prober.__new__(Prober)
        prober._waiting = {IPv4Address("10.77.0.9"): fail}
        asyncio.get_running_loop().call_soon(prober._settle, IPv4Address("10.77.0.9"), "", fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    watched = Watched()
    watched.run(main)
    assert watched.left == [FAULT]
    assert "_settle" in watched.details[0] and "RuntimeError: a fault" in watched.details[0]


def test_a_fault_inside_a_library_is_told_and_ends_nothing() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(json.loads, "{")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    watched = Watched()
    watched.run(main)
    assert not watched.left and "JSONDecodeError" in watched.details[0]


@pytest.mark.parametrize("key", ["client", "transport", "protocol", "socket"])
def test_what_one_client_causes_is_told_and_ends_nothing(key: str) -> None:
    async def main() -> None:
        prober = Prober.__new__(Prober)
        prober._waiting = {IPv4Address("10.77.0.9"): fail}
        try:
            prober._settle(IPv4Address("10.77.0.9"), "", fail)
        except RuntimeError as error:
            report = {"message": "one connection", "exception": error, key: "10.77.0.11"}
            asyncio.get_running_loop().call_exception_handler(report)

    watched = Watched()
    watched.run(main)
    assert not watched.left and watched.details[0].startswith("one connection: RuntimeError: a fault")


@pytest.mark.parametrize("does_fail", [True, False])
def test_a_lasting_task_that_ends_ends_the_part(does_fail: bool) -> None:
    async def ends() -> None:
        if does_fail:
            fail()

    async def main() -> None:
        lasting(asyncio.create_task(ends()), "listening for HTTPS")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    watched = Watched()
    watched.run(main)
    assert watched.left == [FAULT]
    reason = "a fault" if does_fail else "it came to an end by itself"
    assert watched.details[0].startswith(f"listening for HTTPS died: RuntimeError: {reason}")


def test_a_lasting_task_that_is_cancelled_does_not() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        lasting(task, "sleeping")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    watched = Watched()
    watched.run(main)
    assert not watched.left and not watched.told


def test_what_ends_the_main_task_ends_the_part_and_an_error_goes_to_whoever_runs_it() -> None:
    async def faulty() -> None:
        fail()

    async def wrong() -> None:
        raise SwarmError("no swarm", fix="make one")

    watched = Watched()
    watched.run(faulty)
    assert watched.left == [FAULT] and watched.details[0].startswith("it: RuntimeError: a fault")
    watched = Watched()
    with pytest.raises(SwarmError):
        watched.run(wrong)
    assert not watched.left


DIES = """
import asyncio, sys, threading
from labkit.events import Emitter
from labkit.events.watchdog import Vital

def die():
    raise RuntimeError("a fault")

async def main():
    threading.Thread(target=die, name="tftp").start()
    await asyncio.to_thread(threading.Event().wait)  # a thread that would hold up every orderly end

Vital("bootd", Emitter(int(sys.argv[1]))).run(main())
"""


@pytest.mark.netns
def test_a_part_that_dies_is_started_anew_and_its_reason_is_an_event(tmp_path: Path) -> None:
    """A real process and what keeps it: the reason comes as the part's own event, then that it died, and its log."""
    told: list[Event] = []

    async def keep() -> None:
        with (tmp_path / "events").open("wb") as stream:
            command = (sys.executable, "-c", DIES, str(stream.fileno()))
            spec = PartSpec("bootd", Sandbox(command), tmp_path / "log", pass_fds=[stream.fileno()])
            part = Kept(spec, told.append)
            await part.start()
            async with asyncio.timeout(20):
                while [event.state for event in told if isinstance(event, Part)] != ["started", "died", "started"]:
                    await asyncio.sleep(0.01)
            await part.stop()

    asyncio.run(keep())
    first, died, second = (event for event in told if isinstance(event, Part))
    assert died.detail.startswith(f"status {FAULT}: ") and "RuntimeError: a fault" in died.detail
    assert first.pid != second.pid
    own = events.decode((tmp_path / "events").read_text().splitlines()[0])
    assert isinstance(own, Trouble)
    assert own.detail.startswith("the thread tftp died: RuntimeError: a fault")


def test_every_server_answers_a_ping(tmp_path: Path) -> None:
    async def asking() -> None:
        server = await rpc.serve(rpc.listen(tmp_path / "sock"), {})
        assert await rpc.acall(tmp_path / "sock", "ping") == {}
        server.close()

    asyncio.run(asking())


def test_events_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    full = Stream(Path("/dev/full"))
    assert not full.write(LabEvent(state="up")) and not full.write(LabEvent(state="up"))
    assert (full.lost, full.why) == (2, "No space left on device")


def test_no_line_of_the_stream_is_torn(tmp_path: Path) -> None:
    """A file system that takes only a part of a line, as a full one does: here a limit on the size of files."""
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom labkit.events import LabEvent, Stream\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "stream = Stream(Path(sys.argv[1]))\n"
        "print([stream.write(LabEvent(state='up', detail='x' * 30)) for _ in range(3)], stream.lost)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "events")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[True, False, False] 2\n"
    assert len(list(events.read(tmp_path / "events", after=-1))) == 1


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    (tmp_path / "lab.yaml").write_text("name: lab\nblades:\n  - name: blade1\n")
    state = State(tmp_path / "state")
    state.make()
    return Supervisor(lab_yaml.load(tmp_path / "lab.yaml"), state, Users(0))


def test_the_supervisor_goes_on_reading_events_after_a_fault(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def take(line: str) -> None:
        taken.append(line)
        if len(taken) == 1:
            raise RuntimeError("a fault")

    async def reading() -> None:
        monkeypatch.setattr(supervisor.writer, "take", take)
        monkeypatch.setattr("labkit.servers.supervisor.ANEW_S", 0.01)
        emit = Emitter(supervisor.writer.pipe)
        supervisor._begin("reading the parts' events", supervisor.writer.read_parts)
        emit(LabEvent(state="up"))
        async with asyncio.timeout(10):
            while not list(events.read(supervisor.state.events)):
                await asyncio.sleep(0.01)
            emit(LabEvent(state="down"))
            while len(taken) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(reading())
    [trouble] = events.read(supervisor.state.events)
    assert isinstance(trouble, Trouble) and trouble.part == "supervisor"
    assert trouble.detail.startswith("reading the parts' events died and begins anew: RuntimeError: a fault")


def test_once_events_can_be_written_again_it_is_told_how_many_were_lost(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = supervisor.writer.stream
    monkeypatch.setattr(supervisor.writer, "stream", Stream(Path("/dev/full")))
    supervisor.emit(LabEvent(state="starting"))
    assert asyncio.run(supervisor._status({}))["unwritten"] == "1 events: No space left on device"
    supervisor.writer.stream._fileno = good._fileno
    supervisor.emit(LabEvent(state="up"))
    up, trouble = events.read(supervisor.state.events)
    assert isinstance(up, LabEvent) and isinstance(trouble, Trouble)
    assert trouble.detail == "1 events could not be written: No space left on device"
    assert asyncio.run(supervisor._status({}))["unwritten"] == ""
