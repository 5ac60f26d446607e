"""A blade that boots in a circle is held: it gets an explanation and no kernel, until somebody lets it go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.boot import ImageFile, Rendered
from labkit.boot.loaders import FILES, SCRIPT, SIGNED
from labkit.diagnosis.circles import BOOTS, WITHIN_S, circling
from labkit.diagnosis.early_failure import known_end
from labkit.diagnosis.stuck import VIRTUAL_S, Watch, find_stuck
from labkit.diagnosis.why import why
from labkit.events import BootStarted, Dhcp, Event, Held, LabEvent, Phoned, Power, Transfer
from labkit.events.folding import fold_all
from labkit.events.stages import LabState
from labkit.events.tables import table
from labkit.lab import lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.netboot import plans
from labkit.netboot.boots import BootBook
from labkit.netboot.clients import Refusal
from labkit.pictures.event_text import in_words
from tests.rig.dhcp import ADDRESS, MAC, Seen, make_clients

LAB = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))


def boots(count: int, every_s: float = 60.0, cause: str = "pxe") -> list[Event]:
    stream: list[Event] = [LabEvent(state="up"), Power(time=1000, blade="blade1", state="on")]
    for number in range(count):
        at, name = 1000 + number * every_s, f"b{number}"
        stream += [
            BootStarted(time=at, blade="blade1", boot=name, cause=cause),
            Dhcp(time=at + 3, blade="blade1", boot=name, mac=MAC, message="REQUEST", reply="ACK", client="pxe"),
            Transfer(time=at + 5, blade="blade1", boot=name, protocol="http", path="labos/vmlinuz", state="done"),
        ]
    return stream


def now(stream: list[Event]) -> LabState:
    return fold_all(stream)


HELD = Held(time=1300, blade="blade1", state="held", detail="it boots again and again, 5 times in 4 min")
RELEASED = Held(time=1400, blade="blade1", state="released")


def test_so_many_boots_in_so_long_are_a_circle() -> None:
    assert not circling(now(boots(BOOTS - 1)).blade("blade1"))
    told = circling(now(boots(BOOTS)).blade("blade1"))
    assert told == "it boots again and again, 5 times in 4 min, and never got to the swarm"
    assert circling(now(boots(BOOTS, WITHIN_S / (BOOTS - 1))).blade("blade1"))
    assert not circling(now(boots(BOOTS + 3, WITHIN_S / (BOOTS - 1) + 1)).blade("blade1"))


def test_a_persons_buttons_are_no_circle() -> None:
    assert not circling(now(boots(BOOTS + 3, cause="power")).blade("blade1"))


def test_a_blade_that_joined_is_no_circle() -> None:
    stream = boots(BOOTS)
    assert not circling(now([*stream, Phoned(time=1290, blade="blade1", boot="b4", stage="joined")]).blade("blade1"))


def test_the_watch_names_it_until_it_is_held() -> None:
    watch = Watch(LAB, boots(BOOTS))
    assert [name for name, _ in watch.circling()] == ["blade1"]
    watch.take(HELD)
    assert watch.circling() == [] and watch.due(9999.0) == []  # and it does not count as stuck
    watch.take(RELEASED)
    assert watch.circling() == []  # a new count began
    assert [event.blade for event in watch.due(9999.0)] == ["blade1"]


def test_it_is_told(tmp_path: Path) -> None:
    state = now([*boots(BOOTS), HELD])
    assert ", held" in table(LAB, state) and state.blade("blade1").held == HELD.detail
    answer = why(LAB, LAB.blades[0], state, [*boots(BOOTS), HELD], VIRTUAL_S, 1310.0, up=True)
    assert not answer.well and answer.where == f"it is held and gets no kernel: {HELD.detail}"
    assert answer.next.endswith("./lab power release blade1") and answer.causes
    end = known_end(LAB, State(tmp_path), state, ["blade1"], until="os", since=0.0, now=1310.0)
    assert end is not None and "blade1 is held" in end.what and "./lab power release blade1" in end.fix
    assert find_stuck(LAB, "blade1", state, 9999.0, VIRTUAL_S) is None
    assert "again and again" in in_words(HELD) and in_words(RELEASED) == "may boot again"


def test_a_button_does_not_let_it_go() -> None:
    stream = [
        *boots(BOOTS),
        HELD,
        Power(time=1310, blade="blade1", state="off"),
        Power(time=1320, blade="blade1", state="on"),
    ]
    state = now([*stream, BootStarted(time=1321, blade="blade1", boot="b9", cause="power")])
    assert state.blade("blade1").held
    assert not now([*stream, RELEASED]).blade("blade1").held


# --- what it gets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pxelinux", "lpxelinux", "ipxe", "grub"])
def test_it_gets_loaders_an_explanation_and_no_kernel(method: str, tmp_path: Path) -> None:
    lab = lab_yaml.parse(f"boot: {method}\nblades:\n  - name: blade1\n", tmp_path / "lab.yaml")
    book = BootBook(
        lab, Secret("key"), tmp_path / "boots.json", lambda *of: plans.prepare_with(plans.Own(), None, lab, *of)
    )
    book.begin("blade1", "pxe")
    assert book.hold("blade1", "it boots again and again – in a circle") and not book.hold("blade1", "again")
    boot = book.current("blade1")
    assert boot is not None
    files = book.frozen(boot).resources
    assert {name for name, file in files.items() if isinstance(file, ImageFile)} == {
        *FILES,
        *(SIGNED if method == "grub" else ()),
    }
    assert not [name for name in files if "vmlinuz" in name or ".cpio" in name]
    message = files["boot.msg"]
    assert isinstance(message, Rendered)
    text = message.content.decode("ascii")
    assert "blade1 is held: it boots again and again ? in a circle" in text and "./lab power release blade1" in text
    assert all(len(line) < 80 for line in text.split("\r\n"))
    menu, script = files["pxelinux.cfg/default"], files[SCRIPT]
    assert isinstance(menu, Rendered) and isinstance(script, Rendered)
    assert files["pxelinux.cfg/01-52-54-00-4d-00-01"] == menu
    assert menu.content.decode() == (
        "# blade1 is held: this configuration has no kernel, and is read again after a while\n"
        "default again\nprompt 1\ntimeout 1200\n\ndisplay boot.msg\n\nlabel again\nconfig pxelinux.cfg/default\n"
    )
    lines = script.content.decode().splitlines()
    assert lines[:2] == ["#!ipxe", ":held"] and lines[2].startswith("echo blade1 is held: ")
    assert lines[-2:] == ["sleep 120", "chain --autofree --replace http://10.77.0.1/boot.ipxe || goto held"]
    assert b"vmlinuz" not in menu.content + script.content
    signed = files["grub/grub.cfg"]
    assert isinstance(signed, Rendered) and files["grub/grub.cfg-01-52-54-00-4d-00-01"] == signed
    words = signed.content.decode().splitlines()
    assert words[1].startswith("echo 'blade1 is held: ")
    assert words[-8:] == [
        "sleep 120", 'if [ "$held" != "yes" ]; then', "  set held=yes", "  while true; do",
        "    source $prefix/grub.cfg", "    sleep 3", "  done", "fi",
    ]  # fmt: skip


def test_its_next_request_after_it_is_let_go_gets_the_kernel(tmp_path: Path) -> None:
    clients = make_clients(tmp_path, Seen())
    boot = clients.boots.begin("blade1", "pxe")
    clients.boots.hold("blade1", "it boots again and again")
    assert isinstance(clients.lookup(str(ADDRESS), "labos/vmlinuz"), Refusal)
    assert b"held" in getattr(clients.lookup(str(ADDRESS), "pxelinux.cfg/default"), "content", b"")
    assert clients.boots.sought("blade1") is None  # it asks again and again, and no boot begins
    assert clients.boots.release("blade1") and not clients.boots.release("blade1")
    assert clients.lookup(str(ADDRESS), "pxelinux.cfg/default") == Rendered(b"menu of blade1\n")
    assert clients.lookup(str(ADDRESS), "labos/vmlinuz") == ImageFile("labos/vmlinuz")
    assert clients.boots.all()["blade1"] == replace(boot, kernel=True)


def test_a_boot_that_has_asked_for_its_kernel_goes_on_and_is_the_last(tmp_path: Path) -> None:
    clients = make_clients(tmp_path, Seen())
    clients.boots.begin("blade1", "pxe")
    clients.lookup(str(ADDRESS), "labos/vmlinuz")
    clients.boots.hold("blade1", "it boots again and again")
    assert isinstance(clients.lookup(str(ADDRESS), "labos/oem.cpio.gz"), Rendered)
    assert clients.boots.sought("blade1") is not None
    assert isinstance(clients.lookup(str(ADDRESS), "labos/vmlinuz"), Refusal)
    clients.save()
    again = make_clients(tmp_path, Seen())  # the boot server was restarted
    assert isinstance(again.lookup(str(ADDRESS), "labos/vmlinuz"), Refusal)
    again.boots.begin("blade1", "power")
    assert isinstance(again.lookup(str(ADDRESS), "labos/vmlinuz"), Refusal)


def test_a_blade_that_never_booted_is_not_held(tmp_path: Path) -> None:
    assert not make_clients(tmp_path, Seen()).boots.hold("blade1", "it boots again and again")
