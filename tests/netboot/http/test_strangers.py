"""Machines that are not in the lab over HTTP: what they may fetch, tell and ask, and who may not."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest

from labkit.boot import ImageFile, Rendered
from labkit.events import Inventoried, Ticket
from labkit.netboot.clients import Refusal
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.http.strangers import Strangers
from tests.netboot.http.test_blade_inventory import text
from tests.rig.dhcp import STRANGER
from tests.rig.http_server import Rig

WHOLE = text(f"card\teno1\t{STRANGER}\te\t1\t1000", "card\teno2\t00:00:5e:00:53:98\te\t0\t", "disk\tsda\t1000\t0\tFast")
ELSEWHERE = "10.77.0.66"


class Discovering(Rig):
    """The client at 127.0.0.1 is a machine that is not in the lab, and has an address of the pool."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        super().__init__(folder, tls=tls)
        lab = self.clients.lab
        blades = (replace(lab.blades[0], address=IPv4Address("10.77.0.11")), *lab.blades[1:])
        self.clients.take_lab(replace(lab, blades=blades, network=replace(lab.network, discover=True)))
        lease = Lease(IPv4Address("127.0.0.1"), STRANGER, LeaseState.BOUND, time.time() + 1000)
        self.clients.adopt(Decision(LeaseBook({lease.address: lease})))
        own = self.home.handlers()
        self.home.handlers = lambda: own | Strangers(self.clients, self.inventories).handlers()  # type: ignore[method-assign]


@pytest.fixture
def rig(tmp_path: Path) -> Discovering:
    return Discovering(tmp_path)


def post(rig: Rig, *asked: tuple[str, str]) -> list[tuple[int, str]]:
    got: list[tuple[int, str]] = []

    async def talk(client: aiohttp.ClientSession) -> None:
        for path, said in asked:
            async with client.post(f"{rig.root}/v1/{path}", data=said) as answer:
                got.append((answer.status, await answer.text()))

    rig.run(talk)
    return got


@pytest.mark.parametrize("tls", [False, True])
def test_it_tells_once_and_waits_until_it_is_taken_in(tmp_path: Path, tls: bool) -> None:
    rig = Discovering(tmp_path, tls=tls)
    told, again, waits = post(rig, ("machine", WHOLE), ("machine", WHOLE), ("waiting", ""))
    assert (
        told[0] == 200 and told[1].startswith("found: 8 cores, 16 GiB, 1 disk") and f"./lab adopt {STRANGER}" in told[1]
    )
    assert again[0] == 429 and waits == (200, "wait\n")
    [event] = rig.seen.of(Inventoried)
    assert (event.blade, event.macs) == ("", (STRANGER, "00:00:5e:00:53:98"))
    lab = rig.clients.lab
    rig.clients.take_lab(replace(lab, blades=(replace(lab.blades[0], macs=(STRANGER,)), *lab.blades[1:])))
    assert post(rig, ("waiting", ""), ("machine", WHOLE)) == [
        (200, "adopted\n"),
        (403, "no machine that is waiting has this address\n"),
    ]


def test_it_may_do_nothing_that_a_blade_may(rig: Rig) -> None:
    asked = [(path, "") for path in ("join", "stage", "leave", "left", "space", "member", "unlock", "inventory")]
    assert {status for status, _ in post(rig, *asked)} == {403}
    assert len(rig.seen.of(Ticket)) == len(asked)


def test_what_it_may_fetch(rig: Rig) -> None:
    lookup = rig.clients.lookup
    assert isinstance(lookup("127.0.0.1", "labos/vmlinuz"), ImageFile)
    archive = lookup("127.0.0.1", "labos/oem.cpio.gz")
    assert isinstance(archive, Rendered) and archive is lookup("127.0.0.1", "labos/oem.cpio.gz")
    assert isinstance(lookup("127.0.0.1", "coreos/x"), Refusal)
    assert isinstance(lookup(ELSEWHERE, "labos/vmlinuz"), Refusal), "that address has nobody from us"
    assert isinstance(lookup("no address", "labos/vmlinuz"), Refusal)


def test_a_lab_that_does_not_discover_hears_nobody(rig: Rig) -> None:
    lab = rig.clients.lab
    rig.clients.take_lab(replace(lab, network=replace(lab.network, discover=False)))
    assert {status for status, _ in post(rig, ("machine", WHOLE), ("waiting", ""))} == {405}
    assert isinstance(rig.clients.lookup("127.0.0.1", "labos/vmlinuz"), Refusal)


def test_who_has_no_address_of_ours_is_heard_neither(rig: Rig) -> None:
    rig.clients.adopt(Decision(LeaseBook()))
    assert post(rig, ("machine", WHOLE))[0][0] == 403
    assert post(rig, ("waiting", "")) == [(200, "wait\n")]
    assert rig.seen.of(Inventoried) == []
