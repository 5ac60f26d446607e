"""The boot timeline: a picture that is well-formed, says everything in words too, and takes whatever it is given."""

from __future__ import annotations

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from labkit.events import BootStarted, Dhcp, Event, Phoned, Power, Stuck, Transfer
from labkit.events.amounts import room, size
from labkit.events.folding import fold_all
from labkit.events.stages import STAGES, STEPS, BladeState, Fetched
from labkit.pictures.timeline import COLOURS, SHORTEST_AXIS_S, draw_timeline, fetched_words, tell_timeline

SVG = "{http://www.w3.org/2000/svg}"
USUAL = dict.fromkeys(STEPS, 5.0)


def file(time: float, path: str, state: str, sent_b: int = 0, seconds: float = 0.0) -> Transfer:
    return Transfer(
        blade="blade1", boot="b1", time=time, protocol="http", path=path, state=state, sent_b=sent_b, seconds=seconds
    )


BOOT: list[Event] = [
    BootStarted(blade="blade1", boot="b1", time=1000, cause="power"),
    Power(blade="blade1", boot="b1", time=1000, state="on"),
    Dhcp(blade="blade1", boot="b1", time=1003, mac="52:54:00:4d:00:01", message="DISCOVER", reply="OFFER"),
    file(1010, "boot.ipxe", "done", 670, 0.01),
    file(1011, "labos/vmlinuz", "done", 14_000_000, 0.5),
    file(1013, "labos/labos.cpio", "started"),
    file(1016, "labos/labos.cpio", "done", 90_000_000, 3.0),
    file(1017, "labos/oem.cpio.gz", "done", 2_000, 0.1),
    Phoned(blade="blade1", boot="b1", time=1040, stage="os", uptime_s=20, init_s=4, ignition_s=7),
    Phoned(blade="blade1", boot="b1", time=1060, stage="joined", uptime_s=40, init_s=4, ignition_s=7),
]


def boot(events: int = len(BOOT)) -> BladeState:
    return fold_all(BOOT[:events]).blade("blade1")


def bars(text: str, *, ghosts: bool = False) -> list[ET.Element]:
    found = [one for one in ET.fromstring(text).iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]
    return [one for one in found if (one.get("fill-opacity") is not None) == ghosts]


def number(bar: ET.Element, name: str) -> float:
    return float(bar.get(name, "nan"))


def test_each_step_is_a_bar_that_begins_where_the_last_ends() -> None:
    drawn = bars(draw_timeline([boot()]))
    assert [bar.get("fill") for bar in drawn] == [COLOURS[step.name] for step in boot().steps()]
    for before, after in itertools.pairwise(drawn):
        assert number(before, "x") + number(before, "width") == pytest.approx(number(after, "x"), abs=0.11)
    widths = [number(bar, "width") for bar in drawn]
    assert widths[1] / widths[0] == pytest.approx(7 / 3, abs=0.05)


def test_a_bar_says_its_time_its_bytes_and_the_rate() -> None:
    [_, initrd] = [bar for bar in bars(draw_timeline([boot()], usual=USUAL)) if bar.get("fill") == COLOURS["initrd"]]
    said = initrd.findtext(f"{SVG}title")
    assert said is not None and re.sub(" +", " ", said) == (
        "blade1: initrd 11.0 s (usually 5.0 s): 2 files, 90.0 MB at 29.0 MB/s"
    )


def test_the_usual_times_lie_behind() -> None:
    whole = bars(draw_timeline([boot()], usual=USUAL), ghosts=True)
    assert [bar.get("fill") for bar in whole] == [COLOURS[name] for name in STEPS if name != "loader"]
    going = bars(draw_timeline([boot(3)], usual=USUAL), ghosts=True)
    assert len(going) == len(STEPS), "what may still come is shown"
    assert bars(draw_timeline([boot()]), ghosts=True) == []


def test_a_step_that_goes_on_reaches_until_now() -> None:
    [*_, last] = bars(draw_timeline([boot(6)], now=1113))
    assert last.get("stroke-dasharray") and last.get("fill") == COLOURS["initrd"]
    assert number(last, "width") > 10 * number(bars(draw_timeline([boot(6)], now=1113))[0], "width")
    assert "initrd     100.0 s so far" in tell_timeline([boot(6)], now=1113)


def test_it_tells_who_is_stuck() -> None:
    stuck = Stuck(blade="blade1", boot="b1", time=1100, step="initrd", what="it began to fetch <labos>", seconds=90)
    state = fold_all([*BOOT[:6], stuck]).blade("blade1")
    text = draw_timeline([state], now=1100)
    assert "stuck in initrd" in text and "&lt;labos&gt;" in text
    assert tell_timeline([state]).splitlines()[0] == "blade1: stuck in initrd"
    assert "stuck" not in draw_timeline([fold_all([*BOOT[:6], stuck, *BOOT[6:]]).blade("blade1")])


def test_the_words_are_in_the_picture() -> None:
    boots = [boot(), dataclasses.replace(boot(4), blade="blade2")]
    root = ET.fromstring(draw_timeline(boots, usual=USUAL, now=1012))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Boot timeline of blade1, blade2"
    assert root.findtext(f"{SVG}desc") == tell_timeline(boots, usual=USUAL, now=1012)
    assert tell_timeline(boots).startswith("blade1: joined after 60.0 s\n  firmware     3.0 s\n")


@pytest.mark.parametrize("boots", [[], [BladeState("blade1")], [BladeState("<&>", power="on", began=5)]])
def test_whatever_it_is_given_is_drawn(boots: list[BladeState]) -> None:
    root = ET.fromstring(draw_timeline(boots, usual=USUAL))
    assert root.tag == f"{SVG}svg"
    assert f"{SHORTEST_AXIS_S:g} s" in draw_timeline([]) and tell_timeline([]) == "no boot has been seen"


def test_a_long_boot_has_few_ticks() -> None:
    text = draw_timeline([dataclasses.replace(boot(), joined=1000 + 40_000)])
    assert 1 < len(ET.fromstring(text).findall(f"{SVG}line")) <= 13


def test_amounts_for_a_person() -> None:
    assert [size(count) for count in (0, 670, 2_440, 93_873_116, 2.5e9)] == [
        "0 B", "670 B", "2.4 kB", "93.9 MB", "2.5 GB",
    ]  # fmt: skip
    assert fetched_words(Fetched()) == "" and fetched_words(Fetched(1, 670)) == "1 file, 670 B"


@pytest.mark.parametrize(
    ("mib", "words"), [(0, "0 MiB"), (1023, "1023 MiB"), (1024, "1.0 GiB"), (4700, "4.6 GiB"), (46385, "45 GiB")]
)
def test_room_has_no_digit_too_many(mib: int, words: str) -> None:
    assert room(mib) == words


def widths(text: str) -> dict[str, float]:
    """How wide each step is drawn, by its name."""
    found: dict[str, float] = {}
    for bar in bars(text):
        name = (bar.findtext(f"{SVG}title") or "").split()[1]
        found[name] = found.get(name, 0.0) + number(bar, "width")
    return found


def test_a_bar_never_goes_backwards() -> None:
    """A machine that has its files says only later when its kernel ran, and Ignition."""
    network = Dhcp(blade="blade1", boot="b1", time=1038, mac="52:54:00:4d:00:01", message="DISCOVER", client="os")
    stream = [*BOOT[:8], network, *BOOT[8:]]
    usual = {"join": 200.0}  # one scale for all of them
    before: dict[str, float] = {}
    for moment in range(1000, 1061):
        state = fold_all([event for event in stream if event.time <= moment]).blade("blade1")
        now = widths(draw_timeline([state], usual=usual, now=moment))
        shrunk = {name for name, width in before.items() if now.get(name, 0.0) < width - 0.2}
        assert not shrunk - {"os"}, (moment, before, now)
        before = now
    assert {"kernel", "initrd", "ignition", "os", "join"} <= before.keys()


def test_the_time_line_has_the_stages_of_the_boxes() -> None:
    words = [node.text for node in ET.fromstring(draw_timeline([boot()], now=1060)).iter(f"{SVG}text")]
    assert [word for word in words if word in STAGES][-len(STAGES) :] == list(STAGES), "the legend"
    assert not (set(STEPS) - set(STAGES)) & set(words)
