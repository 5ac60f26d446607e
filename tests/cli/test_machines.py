"""``./lab machines``, ``adopt`` and ``forget``, as a person calls them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.cli import commands
from labkit.errors import ControlError
from labkit.lab.process import rpc

LAB = "# mine\nblades:\n  - name: red1 # the first\n"
A, B, C, D = (f"00:00:5e:00:53:0{digit}" for digit in "abcd")
UUID = "00112233-4455-6677-8899-aabbccddeeff"
HEARD = (
    events.UnknownMachine(mac=C, adopt="", time=3, client="pxe", arch="7", uuid=UUID),
    events.UnknownMachine(mac=B, adopt="", time=1, client="ipxe", arch="0"),
    events.UnknownMachine(mac=A, adopt="", time=5, client="pxe", uuid=UUID),
    events.UnknownMachine(mac=D, adopt="", time=6),
    events.Dhcp(mac=D, time=7, message="DISCOVER", client="os"),
)


class Place:
    """A lab file and the events of its lab, and labkit called there without a process of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.lab, self.state = folder / "lab.yaml", folder / ".lab"
        self._capsys = capsys
        self.lab.write_text(LAB)
        self.state.mkdir()
        self.hear(HEARD)

    def hear(self, heard: Sequence[events.Event]) -> None:
        lines = [events.encode(replace(event, seq=seq)) + "\n" for seq, event in enumerate(heard, 1)]
        (self.state / "events.jsonl").write_text("".join(lines))

    def __call__(self, *words: str, status: int = 0) -> str:
        self._capsys.readouterr()
        assert commands.main(["--lab", str(self.lab), "--state", str(self.state), *words]) == status
        said = self._capsys.readouterr()
        return said.out if status == 0 else said.err


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def test_machines_are_shown_with_their_cards_together(place: Place) -> None:
    told = place("machines").splitlines()
    assert told[0] == B and told[2] == f"{C} {A}" and told[4] == D
    assert "BIOS; asked by iPXE; last 19" in told[1]
    assert "UEFI, x86-64; asked by PXE" in told[3] and told[3].endswith(f"UUID {UUID}")
    assert "asked by a system" in told[5]
    assert f"./lab adopt {B}" in told[8]


def test_machines_as_json(place: Place) -> None:
    rows = json.loads(place("machines", "--json"))
    assert [row["macs"] for row in rows] == [[B], [C, A], [D]]
    assert rows[1] == {
        "macs": [C, A], "first": 3, "last": 5, "uuid": UUID, "arch": "7", "clients": ["pxe"],
        "firmware": "UEFI, x86-64", "blade": "", "vendor": "", "words": "", "bmc": "",
    }  # fmt: skip


REAL = """network: {kind: interface, interface: eth1, subnet: 10.77.0.0/24, server: 10.77.0.2, router: none, dns: []}
bmc: {password_env: BMC_PASSWORD}
blades:
  - {name: red1, macs: ["00:00:5e:00:53:01"], bmc: {address: 10.77.0.201}}
"""


def test_what_a_machine_told_is_shown_and_its_bmc_is_taken_in(place: Place) -> None:
    told = events.Inventoried(time=8, words="4 cores, 16 GiB, no disk, 2 cards", macs=(B, D), bmc="10.77.0.209")
    place.hear([*HEARD, told])
    place.lab.write_text(REAL)
    lines = place("machines").splitlines()
    assert lines[0] == f"{B} {D}" and lines[1].startswith("  4 cores, 16 GiB, no disk, 2 cards; BMC 10.77.0.209; ")
    assert place("adopt", D).startswith(f"red2: slot 2, 10.77.0.12, {B}, {D}, BMC 10.77.0.209\n")
    assert "bmc: {address: 10.77.0.209}" in place.lab.read_text()
    assert "nothing says the address of red3's BMC" in place("adopt", C, status=2)


def test_the_bmc_that_a_person_names_counts(place: Place) -> None:
    place.hear([*HEARD, events.Inventoried(time=8, words="4 cores", macs=(B,), bmc="10.77.0.209")])
    place.lab.write_text(REAL)
    assert "BMC 10.77.0.208" in place("adopt", B, "--bmc", "10.77.0.208")
    place.lab.write_text(REAL)
    assert "bmc: {kind: manual}" in place("adopt", B, "--bmc", "manual") + place.lab.read_text()


def test_one_is_adopted_with_all_its_cards_and_is_no_unknown_machine_then(place: Place) -> None:
    told = place("adopt", A.upper().replace(":", "-"))
    assert told.startswith(f"red2: slot 2, 10.77.0.12, {C}, {A}\n") and "./lab up" in told
    assert place.lab.read_text() == f'{LAB}  - name: red2\n    slot: 2\n    macs: ["{C}", "{A}"]\n'
    assert [row["macs"] for row in json.loads(place("machines", "--json"))] == [[B], [D]]
    assert f"{A} is red2's already" in place("adopt", A, status=2)
    place("forget", "red2")
    assert place.lab.read_text() == LAB


def test_all_that_asked_to_boot_are_adopted_in_their_order(place: Place) -> None:
    told = place("adopt", "--all", "--prefix", "blue")
    assert told.splitlines()[:2] == [f"blue2: slot 2, 10.77.0.12, {B}", f"blue3: slot 3, 10.77.0.13, {C}, {A}"]
    assert D not in place.lab.read_text(), "a system that wants an address does not want to be a blade"
    assert "no machine has asked to boot" in place("adopt", "--all")


@pytest.mark.parametrize("text", ["# mine\n", "", "blades: []\n", "blades: # none\n", "name: red\n"])
def test_the_first_blades_of_a_lab_are_adopted(place: Place, text: str) -> None:
    place.lab.write_text(text)
    assert B in place("machines")
    place("adopt", "--all", "--prefix", "red")
    assert [row["macs"] for row in json.loads(place("machines", "--json"))] == [[D]]
    place("forget", "red2")
    place("forget", "red1")
    assert "blades: []" in place.lab.read_text()
    place("adopt", "--all", "--prefix", "red")


def test_a_dry_run_writes_nothing(place: Place) -> None:
    assert f'+    macs: ["{B}"]\n' in place("adopt", B, "--dry-run")
    place("adopt", B)
    before = place.lab.read_text()
    assert "-  - name: red1 # the first\n" in place("forget", "red1", "--dry-run")
    assert place.lab.read_text() == before


def test_another_card_of_a_blade_is_said_to_be_one(place: Place) -> None:
    place.lab.write_text(f"blades: [{{name: red1, macs: ['{A}']}}]\n")
    assert "another card of red1: write it into its macs, in lab.yaml" in place("machines")
    assert "fix: write it into the macs of red1" in place("adopt", C, status=2)
    place("adopt", "--all")
    assert C not in place.lab.read_text()


def test_one_that_nobody_heard_of_is_adopted_too(place: Place) -> None:
    place.hear([])
    assert place("machines") == "no machine has asked that is not in lab.yaml\n"
    place("adopt", "00:00:5e:00:53:99", "--name", "x", "--slot", "7", "--bmc", "10.77.0.250")
    assert "  - name: x\n    slot: 7\n    macs: [" in place.lab.read_text()
    assert "bmc: {address: 10.77.0.250}\n" in place.lab.read_text()


def test_a_lab_that_is_up_takes_it_in_or_says_why_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def call(path: Path, verb: str, **_: object) -> dict[str, list[str]]:
        asked.append((path, verb))
        if len(asked) == 2:
            raise ControlError("more than its blades is another in lab.yaml: name", fix="./lab down, then ./lab up")
        return {"added": ["red2"]} if len(asked) == 1 else {"removed": ["red2"]}

    monkeypatch.setattr(rpc, "call", call)
    told = place("adopt", B)
    assert "The lab that is up knows red2 now." in told and "./lab power on red2" in told
    told = place("adopt", C)
    assert told.endswith("goes on without this: more than its blades is another in lab.yaml: name\n"
                         "  fix: ./lab down, then ./lab up\n")  # fmt: skip
    told = place("forget", "red2")
    assert told.startswith("red2: taken out\nThe lab that is up does not answer red2 any more.\n")
    assert asked == [(place.state / "run/control.sock", "reload")] * 3


@pytest.mark.parametrize("damage", ["nope: 1\n", "blades: [", "- 1\n", "blades: {a: 1}\n"])
def test_what_is_wrong_with_the_lab_file_is_said(place: Place, damage: str) -> None:
    place.lab.write_text(damage)
    for words in (["machines"], ["adopt", B], ["adopt", "--all"]):
        assert "fix: " in place(*words, status=2)
    assert place.lab.read_text() == damage
