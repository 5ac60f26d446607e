"""Three blades are rolled under load: no request is lost, and a wrong config takes one blade, never the rack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from labkit import events
from labkit.events import Leave, Phoned
from labkit.servers.client import RunningLab
from labkit.swarm.services import deploy
from labkit.swarm.services.http_probe import Answer, tally, under_load
from tests.rig.front_door import FrontDoor
from tests.rig.losses import TOLD_S
from tests.rig.serving_lab import NAMES, PORT, addresses, ran_lab, whole

pytestmark = pytest.mark.soak

LAB = """\
boot: ipxe
network: {subnet: 10.85.0.0/24}
swarm: {roll_blade: 8 min}
blades:
""" + "".join(f"  - {{name: {name}, config: mine.bu}}\n" for name in NAMES)

QUIET_S = 30.0

CONFIG = """\
variant: flatcar
version: 1.0.0
storage:
  files:
    - {path: /etc/motd, contents: {inline: NUMBER}}
"""
BROKEN = """\
variant: flatcar
version: 1.0.0
systemd:
  units:
    - name: docker.service
      dropins:
        - {name: broken.conf, contents: "[Service]\\nExecStartPre=/usr/bin/false\\n"}
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    folder = tmp_path_factory.mktemp("roll")
    (folder / "mine.bu").write_text(CONFIG.replace("NUMBER", "one"))
    with ran_lab(folder, LAB) as door:
        yield door


@pytest.fixture
def running(door: FrontDoor) -> RunningLab:
    """The lab with all blades in, and two replicas of nginx."""
    return whole(door, replicas=2)


def boots(running: RunningLab) -> dict[str, str]:
    """The identity of each blade's boot."""
    return {name: running.stages().blade(name).boot for name in NAMES}


def away(running: RunningLab, since: int) -> dict[str, tuple[float, float]]:
    """From when to when each blade was no part of the swarm, by `time.time`; for ever where it has not come back."""
    left: dict[str, float] = {}
    back: dict[str, float] = {}
    for event in running.events():
        if event.seq <= since:
            continue
        if isinstance(event, Leave) and event.step == "asked":
            left[event.blade] = event.time
        elif isinstance(event, Phoned) and event.stage == "joined":
            back[event.blade] = event.time + TOLD_S  # until its mesh knows of the replicas
    return {blade: (began, back.get(blade, float("inf"))) for blade, began in left.items()}


def lost(answers: list[Answer], gone: dict[str, tuple[float, float]]) -> list[Answer]:
    """The requests that failed, but for those through a blade that was not there."""
    clock = time.time() - time.monotonic()

    def was_away(answer: Answer) -> bool:
        began, ended = gone.get(answer.blade, (float("inf"), 0.0))
        return began <= answer.began_s + clock + answer.ms / 1000 and answer.began_s + clock <= ended

    return [answer for answer in answers if not answer.ok and not was_away(answer)]


def when(answers: list[Answer], began_s: float) -> dict[str, int]:
    """How many requests failed in which ten seconds, through which blade and how."""
    found = Counter(
        f"{(answer.began_s - began_s) // 10 * 10:.0f} s, {answer.blade}: {answer.error or answer.status}"
        for answer in sorted(answers, key=lambda answer: answer.began_s)
        if not answer.ok
    )
    return dict(found)


def test_a_roll_loses_no_request(door: FrontDoor, running: RunningLab) -> None:
    """What the machine bears with nothing going on is told first: what fails then is no roll's."""
    with under_load(addresses(running), PORT, per_s=50) as quiet:
        time.sleep(QUIET_S)
    print(f"\nfor {QUIET_S:g} s nothing happens: {tally(quiet)}")
    (door.folder / "mine.bu").write_text(CONFIG.replace("NUMBER", "two"))
    before, since = boots(running), max(event.seq for event in running.events())
    began = time.monotonic()
    with under_load(addresses(running), PORT, per_s=50) as load:
        done = door("swarm", "roll", timeout_s=1800)
        took_s = time.monotonic() - began
        time.sleep(TOLD_S)
    print(f"\n{done.stdout}\nthree blades rolled in {took_s:.0f} s: {tally(load)}")
    assert done.returncode == 0, done.stderr
    gone = away(running, since)
    print({name: f"{ended - left - TOLD_S:.0f} s away" for name, (left, ended) in gone.items()})
    failed = lost(load, gone)
    print(f"through a blade that was there: {len(failed)} lost; {when(failed, began)}")
    assert all(boot != before[name] for name, boot in boots(running).items())
    assert sorted(gone) == sorted(NAMES)
    assert door("ssh", "blade2", "cat", "/etc/motd", timeout_s=120).stdout == "two"
    assert failed == []
    assert "no blade has to boot" in door("swarm", "roll", timeout_s=120).stdout


def test_a_config_that_is_wrong_stops_at_the_first_blade(door: FrontDoor, running: RunningLab) -> None:
    right = (door.folder / "mine.bu").read_text()
    (door.folder / "mine.bu").write_text(BROKEN)
    before, since = boots(running), max(event.seq for event in running.events())
    with under_load(addresses(running), PORT, per_s=20) as load:
        done = door("swarm", "roll", timeout_s=1800)
    print(f"\n{done.stdout}{done.stderr}\n{tally(load)}")
    assert done.returncode == 1
    changed = [name for name, boot in boots(running).items() if boot != before[name]]
    assert len(changed) == 1 and f"the roll stopped at {changed[0]}" in done.stderr
    assert lost(load, away(running, since)) == []
    assert f"{changed[0]}: Docker did not start" in done.stderr, "as the blade said itself, not at the limit"
    with running.engine() as engine:
        assert deploy.watch(engine, "web", 60).running == 2

    (door.folder / "mine.bu").write_text(right)
    again = door("swarm", "roll", *changed, timeout_s=1800)
    print(again.stdout)
    assert again.returncode == 0, again.stderr
    now = boots(running)
    assert [name for name in NAMES if now[name] != before[name]] == changed, "who ran the right one was left alone"
    rolled = [event for event in running.events() if isinstance(event, events.Roll) and event.seq > since]
    assert {event.blade for event in rolled if event.blade} == set(changed)
