"""Waiting for a blade whose system tells the lab nothing: until it has its files, and never for the swarm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit import events
from labkit.diagnosis.stuck import VIRTUAL_S, find_stuck
from labkit.diagnosis.why import why
from labkit.errors import ParameterError
from labkit.events import BootStarted, Event, Power, Transfer
from labkit.events.folding import fold_all
from labkit.events.stages import is_handed_over
from labkit.lab import Lab, lab_yaml
from labkit.servers import client
from labkit.ui import choose_blades

LATER_S = 100_000.0


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    for name in ("linux", "one.gz", "two.gz"):
        (tmp_path / name).touch()
    text = "blades: [{name: a}, {name: b, os: custom, custom: {kernel: linux, initrds: [one.gz, two.gz]}}]\n"
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    return lab_yaml.load(path)


def boot(*files: str) -> list[Event]:
    def told() -> Iterator[Event]:
        yield BootStarted(blade="b", boot="b1", time=100.0, cause="power")
        yield Power(blade="b", boot="b1", time=100.0, state="on")
        for number, path in enumerate(files, 1):
            for state in ("started", "done"):
                at = 100.0 + number
                yield Transfer(blade="b", boot="b1", time=at, protocol="http", path=path, state=state, sent_b=9)

    return list(told())


FILES = ("custom/b/kernel/linux", "custom/b/initrd/one.gz", "custom/b/initrd/two.gz")


def test_it_is_there_when_it_has_all_its_files(lab: Lab) -> None:
    _, own = lab.blades
    for count in range(len(FILES) + 1):
        state = fold_all(boot(*FILES[:count])).blade("b")
        assert is_handed_over(own, state) == (count == len(FILES)), count
    off = [*boot(*FILES), Power(blade="b", boot="b1", time=200.0, state="off")]
    assert not is_handed_over(own, fold_all(off).blade("b"))
    assert not is_handed_over(lab.blades[0], fold_all(boot(*FILES)).blade("b")), "a node says by itself how far it is"


def running(lab: Lab, folder: Path, stream: list[Event]) -> Any:
    path = folder / "events.jsonl"
    numbered = (replace(event, seq=number) for number, event in enumerate(stream, 1))
    path.write_text("".join(events.encode(event) + "\n" for event in numbered))
    return SimpleNamespace(lab=lab, state=SimpleNamespace(events=path))


def test_a_wait_for_its_system_ends_with_its_files(lab: Lab, tmp_path: Path) -> None:
    client.wait_blades(running(lab, tmp_path, boot(*FILES)), [lab.blades[1]], until="os", timeout_s=5.0)


def test_a_wait_for_the_swarm_says_that_it_will_not_come(lab: Lab, tmp_path: Path) -> None:
    for wait in (client.wait_blades, client.ensure_blades):
        with pytest.raises(ParameterError, match="b will not join the swarm: os: custom, with config: none") as caught:
            wait(running(lab, tmp_path, []), lab.blades, until="joined")
        assert "leave out such blades" in caught.value.fix


def test_it_never_counts_as_stuck(lab: Lab) -> None:
    assert find_stuck(lab, "b", fold_all(boot(*FILES)), LATER_S, VIRTUAL_S) is None
    assert find_stuck(lab, "b", fold_all(boot(*FILES[:2])), LATER_S, VIRTUAL_S) is not None


def test_why_says_that_no_more_will_be_heard(lab: Lab) -> None:
    stream = boot(*FILES)
    told = why(lab, lab.blades[1], fold_all(stream), stream, VIRTUAL_S, LATER_S, up=True)
    assert told.well and "tells the lab nothing more" in told.where and "./lab console b" in told.next


def test_a_chapter_takes_the_nodes_unless_it_is_told(lab: Lab) -> None:
    assert [blade.name for blade in choose_blades(lab).value] == ["a"]
    assert [blade.name for blade in choose_blades(lab, default=["b"]).value] == ["b"]
