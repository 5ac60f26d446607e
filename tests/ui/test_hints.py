"""Every known failure is caused (`failures_swarm`, `failures_machine`), and every sign of one in events is seen."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import client, events, hints
from labkit.errors import LabkitError, SwarmError
from labkit.netboot.tls import explain
from labkit.stages import LabState, fold_all

from . import failures_machine, failures_swarm
from .failures import BLADE, CASES, LAB, Patch

ROOT = Path(__file__).resolve().parents[2]
CAUSED_IN = (failures_swarm, failures_machine)


@pytest.fixture
def patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patch]:
    yield Patch(tmp_path, monkeypatch)
    gc.collect()


# The Docker SDK leaves a socket that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_error_is_known(name: str, patch: Patch) -> None:
    caught: BaseException | None = None
    try:
        CASES[name](patch)
    except Exception as error:
        caught = error
    patch.patch.undo()
    assert caught is not None, "the case caused nothing"
    hint = hints.match_error(caught)
    assert hint is not None and hint.name == name, f"{caught!r} → {hint}"


def test_every_rule_has_its_case() -> None:
    assert {rule.hint.name for rule in hints.RULES} == set(CASES), CAUSED_IN
    assert len(CASES) >= 25


# --- what the events show ---------------------------------------------------------------------------------------------

BOOT = [
    events.LabEvent(state="starting", time=1),
    events.BootStarted(blade="blade1", boot="b", cause="power", time=10),
    events.Power(blade="blade1", state="on", time=10),
]
MAC = BLADE.macs[0]


def dhcp(reply: str = "ACK", **fields: Any) -> events.Dhcp:
    return events.Dhcp(
        blade="blade1", boot="b", time=12, mac=MAC, message="REQUEST", reply=reply, client="pxe", **fields
    )


def transfer(path: str, state: str, **fields: Any) -> events.Transfer:
    return events.Transfer(blade="blade1", boot="b", time=13, protocol="tftp", path=path, state=state, **fields)


UP = [
    dhcp(file="lpxelinux.0"),
    transfer("labos/vmlinuz", "done", sent_b=9),
    transfer("labos/labos.cpio", "done", sent_b=9),
]
OS = events.Phoned(blade="blade1", boot="b", time=40, stage="os", uptime_s=20, init_s=1, ignition_s=4)
OS_ASKS = events.Dhcp(blade="blade1", boot="b", time=20, mac=MAC, message="DISCOVER", reply="OFFER", client="os")
NBP = dhcp(file="lpxelinux.0")


def trouble(part: str, detail: str) -> events.Trouble:
    return events.Trouble(blade="blade1", boot="b", part=part, detail=detail)


SEEN: dict[str, list[events.Event]] = {
    "no-carrier": [],
    "wrong-mac": [events.UnknownMachine(time=12, mac="52:54:00:00:00:99", adopt="- {name: x}")],
    "other-dhcp": [dhcp("", reason="chose the server 192.168.1.1")],
    "no-loader": [dhcp(reason="boot method pxelinux has no loader for http clients with x64 firmware")],
    "address-taken": [dhcp(), trouble("dhcp", "blade1 declined 10.77.0.11: another machine on this network uses it")],
    "file-blocked": [NBP],
    "file-missing": [NBP, transfer("lpxelinux.0", "missing", reason="no such file")],
    "transfer-broke": [
        NBP, transfer("lpxelinux.0", "started"), transfer("lpxelinux.0", "failed", reason="no answer for 10 s"),
    ],
    "plan-failed": [trouble("plan", "own.bu: the config does not transpile"), dhcp()],
    "ignition-failed": [
        *UP, OS_ASKS, events.Stuck(blade="blade1", boot="b", step="ignition", what="…", seconds=90, time=110),
    ],
    "ticket-refused": [*UP, OS, events.Ticket(blade="blade1", boot="b", time=41, state="refused", reason="no ticket")],
    "not-believed": [*UP, OS_ASKS, replace(explain("blade1", "TLSV1_ALERT_UNKNOWN_CA"), boot="b")],
    "clock-wrong": [*UP, OS_ASKS, replace(explain("blade1", "SSLV3_ALERT_CERTIFICATE_EXPIRED"), boot="b")],
    "waits-for-swarm": [*UP, OS],
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_events_show_what_is_wrong(name: str) -> None:
    found = hints.match_events(fold_all([*BOOT, *SEEN[name]]), ["blade1", "blade2"])
    assert [(blade, hint.name) for blade, hint in found] == [("blade1", name)]


def test_every_sign_in_events_has_its_case() -> None:
    assert set(hints._SEEN) == set(SEEN)


def test_a_boot_that_goes_well_shows_nothing() -> None:
    joined = dataclasses.replace(OS, stage="joined", time=60)
    assert hints.match_events(fold_all([*BOOT, *UP, OS, events.Swarm(action="init", time=5), joined]), ["blade1"]) == []
    assert hints.match_events(LabState(), ["blade1"]) == []


# --- the table itself -------------------------------------------------------------------------------------------------


def test_every_hint_leads_to_a_heading_that_is_there() -> None:
    book = json.loads((ROOT / "notebooks" / "99-help.ipynb").read_text())
    text = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    headings = {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")}
    every = [rule.hint for rule in hints.RULES] + list(hints._SEEN.values())
    assert {hint.section for hint in every} <= set(hints.SECTIONS) <= headings
    assert all(hint.why and hint.link.startswith("99-help.ipynb#") for hint in every)


def test_the_cause_of_an_error_is_known_too() -> None:
    try:
        try:
            client.choose_blades(LAB, ["blade9"])
        except LabkitError as error:
            raise RuntimeError("it went wrong") from error
    except RuntimeError as error:
        hint = hints.match_error(error)
    assert hint is not None and hint.name == "unknown-blade"


def test_an_error_nobody_knows_has_no_hint() -> None:
    assert hints.match_error(ValueError("what is this")) is None
    assert hints.match_error(SwarmError("something new")) is None
