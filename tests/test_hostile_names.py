"""Names from outside in every place where somebody reads them: they steer nothing, end no line, and run nowhere."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import events, ignition
from labkit.boot import held
from labkit.boot.artifacts.text import screen_line
from labkit.boot.boot_plan import plan_bare, resources
from labkit.cli.phases import Phases
from labkit.events import folding, tables
from labkit.ignition import terminal
from labkit.ignition.analysis import pretty
from labkit.lab import lab_yaml
from labkit.lab.lab_yaml import values
from labkit.lab.lab_yaml.positions import Wrong
from labkit.lab.plain_text import TERMINATORS, Plain, harmless, one_line, printable, shown
from labkit.lab.process import faults
from labkit.netboot import metrics
from labkit.pictures import scene
from labkit.pictures.boot_board import draw_board
from labkit.pictures.event_text import in_words
from labkit.pictures.svg import esc
from labkit.pictures.topology import draw_topology
from labkit.swarm.node import Node
from labkit.swarm.services.health import ServiceState
from labkit.workbook import replay
from labkit.workbook.watch import view

EVIL = (
    "\x1b[2J", "\x1b]8;;http://evil\x07here\x1b]8;;\x07", "\x1b]52;c;ZXZpbA==\x07", "\x9b31m", "\u202eevil", "\u2066x",
    "<script>alert(1)</script>", "</script>", "<!--", "]]>", '" onload="x', "' x='", "&amp;", "a\nb", "a\r\nb", "\r",
    "\0", "\x08", "\x7f", "\u2028", "\ud800", "\udcc2\udc9b", "\udce2\udc80\udcae", "\ufffe", "${net0/mac}", "#!ipxe",
    "#", "a || shell", "a && shell", "a ; shell", "\\", '"', "{", "}", "%0a", "\U000e0041",
)  # fmt: skip
names = st.lists(st.sampled_from(EVIL) | st.text(max_size=4), min_size=1, max_size=4).map("".join)
few = settings(max_examples=25)

LAB = lab_yaml.parse("blades: [{name: blade1}, {name: blade2}]\n", Path("/nonexistent/lab.yaml"))


def steers(text: str) -> list[str]:
    """The characters of a text that do something to a terminal, or to the order of others."""
    errors = "replace" if re.search("[\ud800-\udc7f\udd00-\udfff]", text) else "surrogateescape"
    seen = text.encode("utf-8", errors).decode("utf-8", "replace")
    return [one for one in seen if one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")]


def told(name: str) -> list[events.Event]:
    """A lab's events with the name wherever somebody outside can put one."""
    blade: dict[str, Any] = {"time": 2.0, "blade": "blade1", "boot": "b"}
    return [
        events.LabEvent(time=1.0, state="starting"),
        events.BootStarted(**blade, cause="pxe"),
        events.Dhcp(**blade, mac=name, message="DISCOVER", reply="OFFER", address=name, client=name, file=name),
        events.Transfer(**blade, protocol="tftp", path=name, state="missing", reason=name),
        events.Transfer(**blade, protocol="http", path=name, state="started"),
        events.Power(**blade, state="on", detail=name),
        events.Ticket(**blade, state="refused", reason=name),
        events.Trouble(**blade, part="dhcp", detail=name, fix=name),
        events.Space(**blade, state="full", detail=name),
        events.Held(**blade, state="held", detail=name),
        events.UnitFailed(**blade, unit=name, how=name, detail=name, said=(name,), others=(name,)),
        events.Stuck(**blade, step="dhcp", what=name, causes=(name,), fix=name),
        events.UnknownMachine(time=2.0, mac=name, adopt=name, uuid=name),
        events.Swarm(time=2.0, action="ready", blade="blade2", node=name, detail=name),
        events.Service(time=2.0, name=name, action="running", detail=name, blade="blade1"),
        events.Part(time=2.0, part=name, state="died", detail=name),
        events.Note(time=2.0, detail=name),
    ]


@few
@given(names)
def test_a_terminal_and_a_log(name: str) -> None:
    raw = io.StringIO()
    print(name, "end", file=Plain(raw))
    assert not steers(raw.getvalue())
    assert not steers(shown(name)) and "\n" not in shown(name) and not steers(printable(name))
    assert not re.search("[\n\r]", one_line(name))


@few
@given(names)
def test_json_stays_what_it_is(name: str) -> None:
    for text in (json.dumps([name]), json.dumps([name], ensure_ascii=False)):
        if not re.search("[\ud800-\udfff]", text):
            assert json.loads(harmless(text)) == [name]


def test_all_that_a_command_prints_goes_that_way(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = sys.stdout, sys.stderr

    def run() -> int:
        print("\x1b]52;c;x\x07 \udcc2\udc9b31m \u202e")
        print("\x9b2J", file=sys.stderr)
        raise ValueError("\x1b[2J")

    assert faults.guard(run, [], lambda: tmp_path) == 70
    out, err = capfd.readouterr()
    assert not steers(out + err) and "\\u001b]52;c;x\\u0007 \\u009b31m \\u202e" in out and "\\u001b[2J" in err
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("live", [True, False])
def test_progress(live: bool) -> None:
    raw = io.StringIO()
    with Phases(Plain(raw), live=live) as progress:  # type: ignore[arg-type]
        progress("fetching \x1b]52;c;x\x07\r…")
        progress("  \x1b[2J")
    own = re.compile("\r\x1b\\[K|\x1b\\[[0-9]*m")
    assert not steers(own.sub("", raw.getvalue())) and bool(own.search(raw.getvalue())) is live


@few
@given(names)
def test_an_event_is_one_line(name: str) -> None:
    for event in told(name):
        for line in (events.describe(event), in_words(event)):
            assert not steers(line) and "\n" not in line
        assert "\n" not in events.encode(event)


@few
@given(names)
def test_markup(name: str) -> None:
    whole = f'<a b="{esc(name)}">{esc(name)}</a>'
    read = ElementTree.fromstring(whole)
    assert not list(read) and list(read.attrib) == ["b"] and not steers(whole)


@settings(max_examples=5)
@given(names)
def test_pictures(name: str) -> None:
    seen = scene.fold_all(told(name))
    board = draw_board(["blade1", "blade2"], seen, {}, 3.0)
    for html in (board["text/html"], draw_topology(LAB, seen).svg):
        assert not steers(html)
        inside = ElementTree.fromstring(f"<p>{html}</p>")
        assert not [one for one in inside.iter() if str(one.tag).endswith("script")]


def test_a_page_that_plays_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "FRAMES", 2)
    name = " ".join(EVIL)
    page = replay.replay_page(LAB, told(name), name)
    assert not steers(page)
    assert page.count("<script>") == page.count("</script>") == 1 and "<!--" not in page


@few
@given(names)
def test_the_live_page(name: str) -> None:
    web = ServiceState(id="1", name=name, image=name, wanted=2, running=1, places={name: "blade1"}, reason=name)
    swarm = view.Swarm((Node(id=name, hostname=name, blade="blade1", state="ready"),), {name: web}, {name: [80]})
    stream = told(name)
    seen = view.Seen(LAB, scene.fold_all(stream), tuple(stream), up=True, at=2.0, swarm=swarm)
    for shows in (seen, replace(seen, up=False, trouble=name), replace(seen, swarm=view.Swarm(why=name))):
        for html in view.draw(shows).values():
            assert not steers(html) and "<script" not in html and "<!--" not in html
            ElementTree.fromstring(f"<div>{html}</div>")


@few
@given(names, names)
def test_numbers_for_prometheus(part: str, name: str) -> None:
    counters = metrics.Counters()
    counters.count(events.Trouble(part=part, detail=name))
    counters.count(events.Dhcp(mac=name, message=name, reply=part))
    page = metrics.render(counters.totals(), {}, {part: {name: name}}, [("labkit_swarm_nodes", {"role": name}, 1)])
    label = r'[a-z]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
    form = re.compile(rf"#.*|[a-z_]+(?:\{{{label}(?:,{label})*\}})? [0-9.e+]+")
    assert not [line for line in page.removesuffix("\n").split("\n") if not form.fullmatch(line)]
    assert not steers(page)


@few
@given(names)
def test_scripts_of_loaders(why: str) -> None:
    blade = LAB.blades[0]
    plan = plan_bare(LAB, blade)
    files = held.resources(LAB, blade, why, resources(LAB, blade, plan))
    script = files["boot.ipxe"].content.decode("ascii")  # type: ignore[union-attr]
    verbs = [line.split(" ", 1)[0] for line in script.splitlines()]
    assert set(verbs) == {"#!ipxe", ":held", "echo", "sleep", "chain"} and verbs.count("#!ipxe") == 1
    said = [line for line in script.splitlines() if line.startswith("echo")]
    assert not any("${" in line or set(line.split()) & set(TERMINATORS) for line in said)
    assert not any(word.startswith("#") for line in said for word in line.split())
    for name in ("boot.msg", "pxelinux.cfg/default"):
        content = files[name].content  # type: ignore[union-attr]
        assert not steers(content.decode("ascii").replace("\r\n", "\n"))
    assert screen_line(screen_line(why)) == screen_line(why)


@few
@given(names)
def test_an_argument_of_a_kernel_is_one(text: str) -> None:
    try:
        words = values.argument(text).split()
    except Wrong as wrong:
        assert wrong.fix
        return
    assert text.isascii() and text.isprintable() and "${" not in text
    assert not set(words) & set(TERMINATORS) and not any(word.startswith("#") for word in words)


@few
@given(names)
def test_remarks_on_a_config(name: str) -> None:
    source = f"variant: flatcar\nversion: 1.1.0\nnothing: 1 # {name}\n".encode("utf-8", "replace")
    try:
        report = ignition.transpile(source).report
    except ignition.IgnitionError as error:
        report = error.report
    colour = re.compile("\x1b\\[[0-9;]*m")
    for coloured in (True, False):
        text = pretty.render(report, source, name, color=coloured).encode("utf-8", "replace")
        seen = terminal.plain(text, coloured=coloured).decode("utf-8", "replace")
        assert not steers(colour.sub("", seen) if coloured else seen)
        assert set(colour.findall(seen)) <= {*pretty._COLORS.values(), pretty._RESET}


def test_the_table_of_blades() -> None:
    state = folding.fold_all(told("\x1b[2J\nblade9 joined"))
    assert not steers(harmless(tables.table(LAB, state)))
