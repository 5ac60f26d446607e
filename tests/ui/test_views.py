"""Live views: one output, replaced in place, drawn from the lab's own record of events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.lab import Blade
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.servers import client
from labkit.swarm.roll.survey import Row
from labkit.swarm.services.http_probe import Answer
from labkit.ui import views
from labkit.ui.live_events import LiveEvents, present_stages
from tests.rig.recorded import LAB, RUNNING, SERVING, STREAM


class Screen:
    """What was displayed, and what each output was replaced with."""

    def __init__(self) -> None:
        self.outputs: list[list[Any]] = []

    def display(self, shown: Any, *, raw: bool = False, display_id: bool = False) -> Any:
        output = [shown]
        self.outputs.append(output)
        return Handle(output) if display_id else None


class Handle:
    def __init__(self, output: list[Any]) -> None:
        self._output = output

    def update(self, shown: Any, *, raw: bool) -> None:
        self._output.append(shown)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(views, "display", screen.display)
    return screen


def write(path: Path, stream: list[events.Event]) -> None:
    path.write_text("".join(events.encode(event) + "\n" for event in stream))


@pytest.fixture
def running(tmp_path: Path) -> client.RunningLab:
    stream = [e if e.seq else type(e)(**{**vars(e), "seq": 900 + n}) for n, e in enumerate(SERVING)]
    write(tmp_path / "events.jsonl", stream)
    (tmp_path / "logs").mkdir()
    return client.RunningLab(LAB, State(tmp_path))


def test_a_boot_is_one_output_that_changes(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    view = views.BootView(LAB.blades, lab=LAB, path=path)
    for many in (0, 12, 40, len(RUNNING), len(RUNNING)):
        write(path, RUNNING[:many])
        view.show()
    (output,) = screen.outputs
    assert 3 <= len(output) <= 5
    assert "0 of 3 in the swarm" in output[0]["text/plain"]
    assert "3 of 3 in the swarm" in output[-1]["text/plain"]


def test_the_same_picture_is_not_sent_twice(screen: Screen, tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", RUNNING)
    view = views.BootView(LAB.blades, lab=LAB, path=tmp_path / "events.jsonl")
    for _ in range(5):
        view.show()
    assert [len(output) for output in screen.outputs] == [1]


def test_a_restarted_kernel_sees_all_of_it_again(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, RUNNING[:40])
    before = views.BootView(LAB.blades, lab=LAB, path=path)
    before.show()
    write(path, RUNNING)
    before.show()
    views.BootView(LAB.blades, lab=LAB, path=path).show()
    assert screen.outputs[0][-1] == screen.outputs[1][-1]


def test_a_picture_follows_what_is_done_from_outside_until_another_does(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FOLLOW_S", 0.01)
    path = tmp_path / "events.jsonl"
    write(path, RUNNING[:40])
    first, second = (views.BootView(LAB.blades, lab=LAB, path=path) for _ in range(2))
    for view in (first, second):
        view.show()
        view.follow()
    wait_for(lambda: [thread.name for thread in threading.enumerate()].count("following") == 1)
    write(path, RUNNING)
    wait_for(lambda: "3 of 3 in the swarm" in screen.outputs[1][-1]["text/plain"])
    assert "3 of 3 in the swarm" not in screen.outputs[0][-1]["text/plain"]
    monkeypatch.setattr(views.BootView, "_following", None)
    wait_for(lambda: "following" not in [thread.name for thread in threading.enumerate()])


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_watching_ends_when_all_blades_are_in(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: client.RunningLab
) -> None:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}, {name: blade2}, {name: blade3}]\n")
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    monkeypatch.setattr(control, "status", lambda state: {"up": True})
    views.watch(timeout_s=5)
    assert "3 of 3 in the swarm" in screen.outputs[0][-1]["text/plain"]


def test_a_feed_reads_on_and_begins_anew_with_the_lab(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    feed = LiveEvents(path)
    assert feed.poll().stages.blades == {}
    write(path, STREAM)
    assert feed.poll().stages.blade("blade1").stage == "off"
    write(path, STREAM[:9])  # a new lab wrote a new file
    assert feed.poll().stages.blade("blade1").stage == "off" and feed.poll().stages.up


def test_a_lab_that_was_never_up_has_all_blades_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "none"))
    assert present_stages(LAB).blade("blade1").stage == "off"


def blade() -> Blade:
    return LAB.blade("blade1")


def test_pictures_of_a_running_lab(screen: Screen, running: client.RunningLab) -> None:
    views.show_topology(running)
    views.show_sequence(running, blade())
    views.show_spread([Answer("blade1", "a", 200, "web.1", 1.0), Answer("blade2", "a", 0, "", 1.0)])
    topology, sequence, spread = (output[0] for output in screen.outputs)
    assert "web.1" in topology.text
    assert "DHCP DISCOVER (iPXE)" in sequence.text
    assert "web.1" in spread.text and "no answer" in spread.text


def test_the_protocols_of_a_running_lab(screen: Screen, running: client.RunningLab) -> None:
    views.show_ignition(running, blade(), {"storage": {"files": [{"path": "/etc/hostname"}]}})
    views.show_join(running, blade())
    views.show_requests([Answer("blade1", "a", 200, "web.1.blade2", 1.0)], 8080)
    views.show_absence(running, blade())
    ignition, join, requests, absence = (output[0] for output in screen.outputs)
    assert "Ignition → the system: /etc/hostname" in ignition.text
    assert "here is my ticket" in join.text
    assert "GET / at blade1:8080" in requests.text
    assert absence.text == "blade1 has not been away"


def test_tails_of_a_running_lab(screen: Screen, running: client.RunningLab) -> None:
    running.state.console("blade1").write_bytes(b"\x1b[2Jstarting <kernel>\r\n\r\nblade1 login: core\r\n")
    views.show_tail(running, blade(), most=4)
    views.show_console(running, blade())
    views.show_console(running, LAB.blade("blade2"))
    said, console, silent = (output[0] for output in screen.outputs)
    assert len(said["text/plain"].splitlines()) == 5
    assert console["text/plain"].splitlines()[1:] == ["starting <kernel>", "blade1 login: core"]
    assert "&lt;kernel&gt;" in console["text/html"]
    assert silent["text/plain"].endswith("nothing yet")


def test_versions_are_shown_on_the_topology_before_anything_is_rolled(
    screen: Screen, running: client.RunningLab
) -> None:
    old, new = "5f0c1f6a3b7e9d21", "8d2b64c07a1f3e95"
    rows = [
        Row("blade1", old, new, "roll", "it runs another version"),
        Row("blade2", new, new, "has it", "it runs the newest"),
    ]
    views.show_versions(running, rows)
    [[picture]] = screen.outputs
    assert "(worker, ready; 5f0c1f6 → 8d2b64c, waits for its turn): web.1" in picture.text
    assert "(worker, ready; runs 8d2b64c)" in picture.text and "1 of 2 run the newest" in picture.text
    assert "as of" in picture.text
