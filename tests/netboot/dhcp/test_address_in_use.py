"""The neighbour on the LAN: a machine on the blades' network that is none of them, with every trick it can find.

The real HTTP server on loopback, where each of the 127.x addresses is a machine: blade1 at 127.0.0.11, blade2 at
127.0.0.12, and the neighbour at 127.0.0.66. What the neighbour still can do is in docs/swarm.md.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from labkit.events import Ticket
from labkit.lab import Lab, SwarmRules
from labkit.netboot.boots import Boot
from labkit.netboot.http.inventories import Inventories
from labkit.netboot.http.phone_home import HEADER, PhoneHome
from labkit.netboot.http.server import Files, application
from labkit.netboot.metrics import Counters
from tests.rig.dhcp import Seen, make_clients, make_lab

BLADE1, BLADE2, NEIGHBOUR = "127.0.0.11", "127.0.0.12", "127.0.0.66"
TOKEN = "SWMTKN-1-the-token"

Talk = Callable[["Lan"], Awaitable[None]]


class Lan:
    """The server and the machines around it. ``say`` sends a request from one of them."""

    def __init__(self, folder: Path, rules: SwarmRules | None = None) -> None:
        self.seen = Seen()
        self.asked: list[str] = []
        lab = make_lab()
        homes = (IPv4Address(BLADE1), IPv4Address(BLADE2), lab.blades[2].address)
        blades = tuple(replace(blade, address=home) for blade, home in zip(lab.blades, homes, strict=True))
        self.lab: Lab = replace(lab, blades=blades, swarm=rules or SwarmRules())
        self.clients = make_clients(folder, self.seen, self.lab)
        self.boots = self.clients.boots
        self.home = PhoneHome(self.clients, self.desk, Inventories(self.clients, folder / "inventory"))

    async def desk(self, verb: str, *, timeout_s: float = 0, **fields: Any) -> dict[str, Any]:
        self.asked.append(verb)
        return {"body": {"JoinToken": TOKEN}} if verb == "join" else {}

    def ticket(self, boot: Boot) -> dict[str, str]:
        return {HEADER: self.boots.ticket(boot).reveal()}

    def run(self, talk: Talk) -> None:
        async def serving() -> None:
            files = Files(self.clients.lookup, {}, self.clients.emit)
            app = application(files, self.home.handlers(), self.clients.emit, Counters())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            sock = socket.create_server(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
            await web.SockSite(runner, sock).start()
            try:
                await talk(self)
                await asyncio.sleep(0.02)
            finally:
                await runner.cleanup()

        asyncio.run(serving())

    async def say(
        self, who: str, method: str, path: str, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(local_addr=(who, 0))
        async with aiohttp.ClientSession(connector=connector, skip_auto_headers=["User-Agent"]) as client:
            url = f"http://127.0.0.1:{self.port}{path}"
            async with client.request(method, url, headers=headers, data=data) as answer:
                return answer.status, (await answer.read()).decode(errors="replace")

    async def joins(self, who: str, headers: Mapping[str, str]) -> int:
        status, text = await self.say(who, "POST", "/v1/join", headers)
        assert (status == 200) == (TOKEN in text)
        return status

    def refusals(self) -> list[str]:
        return [event.reason for event in self.seen.of(Ticket) if event.state == "refused"]


@pytest.fixture
def lan(tmp_path: Path) -> Lan:
    return Lan(tmp_path)


FAKED = [
    {"X-Forwarded-For": BLADE1}, {"Forwarded": f"for={BLADE1}"}, {"X-Real-IP": BLADE1}, {"Client-IP": BLADE1},
    {"Host": BLADE1}, {"Via": f"1.1 {BLADE1}"}, {"Authorization": "Bearer x"}, {"Cookie": "ticket=x"},
    {"X-Blade": "blade1"}, {"X-HTTP-Method-Override": "GET"},
]  # fmt: skip


def test_a_stolen_ticket_is_worth_nothing_elsewhere(lan: Lan) -> None:
    """The neighbour has read blade1's very ticket off the wire, and tries it under every name."""
    boot = lan.boots.begin("blade1", "power")
    stolen = lan.ticket(boot)

    async def talk(lan: Lan) -> None:
        for extra in ({}, *FAKED):
            assert await lan.joins(NEIGHBOUR, {**stolen, **extra}) == 403
        assert await lan.joins(BLADE2, stolen) == 403  # a blade that was taken over is a neighbour too
        for path in ("/v1/join?blade=blade1", "/v1/join/", "/v1/../v1/join", "//v1/join", "/V1/JOIN", "/v1/join%00"):
            status, text = await lan.say(NEIGHBOUR, "POST", path, stolen, {"blade": "blade1", "address": BLADE1})
            assert status in (403, 404, 405) and TOKEN not in text
        for verb in ("stage", "leave", "left"):  # nor can it take a blade out of the swarm
            assert (await lan.say(NEIGHBOUR, "POST", f"/v1/{verb}", stolen, {"stage": "joined"}))[0] == 403
        assert await lan.joins(BLADE1, stolen) == 200  # whose it is gets in all the same

    lan.run(talk)
    own = "this blade's ticket came from an address that is not its own"
    assert set(lan.refusals()) == {own} and len(lan.refusals()) >= len(FAKED) + 5
    assert lan.asked.count("join") == 1 and "refused" in lan.asked and {"leave", "left"}.isdisjoint(lan.asked)
    assert {event.address for event in lan.seen.of(Ticket) if event.state == "refused"} == {NEIGHBOUR, BLADE2}


def test_a_ticket_is_replayed_after_its_time(lan: Lan) -> None:
    """From the blade's own address, as by somebody who took it over when the blade was off."""
    boot = lan.boots.begin("blade1", "power")
    replayed = lan.ticket(boot)

    async def talk(lan: Lan) -> None:
        assert await lan.joins(BLADE1, replayed) == 200
        assert (await lan.say(BLADE1, "POST", "/v1/stage", replayed, {"stage": "joined"}))[0] == 200
        assert await lan.joins(BLADE1, replayed) == 403  # joined: the window is closed
        lan.boots.begin("blade1", "power")
        assert await lan.joins(BLADE1, replayed) == 403  # and of another boot: worth nothing at all
        assert (await lan.say(BLADE1, "POST", "/v1/leave", replayed))[0] == 403

    lan.run(talk)
    assert lan.refusals()[0] == "this boot has joined already"


def test_tickets_cannot_be_guessed_or_made(lan: Lan) -> None:
    boot = lan.boots.begin("blade1", "power")
    good = lan.boots.ticket(boot).reveal()
    guesses = ["", "0" * 64, good[:-1], good + "0", good.upper(), f" {good[1:]}", boot.id, "blade1",
               f"blade1/{boot.id}", good[::-1], f"{good},{good}", "ü" * 32, "x" * 4000]  # fmt: skip

    async def talk(lan: Lan) -> None:
        for guess in guesses:
            assert await lan.joins(BLADE1, {HEADER: guess}) == 403, guess
        assert await lan.joins(BLADE1, {"X-Ticket": good}) == 403
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, text = await lan.say(BLADE1, method, "/v1/join", {HEADER: good})
            assert status in (404, 405) and TOKEN not in text

    lan.run(talk)
    assert "join" not in lan.asked
    assert good not in repr(lan.seen.events)


def test_no_file_with_a_ticket_in_it_goes_to_anybody_else(lan: Lan) -> None:
    boot = lan.boots.begin("blade1", "power")
    lan.boots.begin("blade2", "power")
    good = lan.boots.ticket(boot).reveal()
    archive = "labos/oem.cpio.gz"
    guessed = [f"/{archive}", f"/blade1/{archive}", f"/{archive}?blade=blade1", f"//{archive}", f"/./{archive}",
               "/%6cabos/oem.cpio.gz", f"/x/../{archive}", "/boots.json", "/../boots.json", "/%2e%2e/keys/tickets",
               "/leases.json", "/keys/tickets", "/v1/ticket", "/v1", "/",
               "/pxelinux.cfg/01-52-54-00-4d-00-01"]  # fmt: skip

    async def talk(lan: Lan) -> None:
        for path in guessed:
            for extra in ({}, {"X-Forwarded-For": BLADE1}, {"Range": "bytes=0-10"}):
                status, text = await lan.say(NEIGHBOUR, "GET", path, extra)
                assert status in (400, 404, 405) and good not in text and "blade1" not in text, path
        status, text = await lan.say(BLADE2, "GET", f"/{archive}")
        assert status == 200 and good not in text  # a blade gets its own, and only that
        assert good in (await lan.say(BLADE1, "GET", f"/{archive}"))[1]
        lan.boots.joined("blade1")
        assert (await lan.say(BLADE1, "GET", f"/{archive}"))[0] == 404  # once it has joined, nobody does

    lan.run(talk)


def test_a_boot_that_nobody_announced_does_not_join_where_the_lab_forbids_it(tmp_path: Path) -> None:
    """With a second blade's card number anybody can look for a boot server. That alone gives no place."""
    lan = Lan(tmp_path, SwarmRules(window_on_discover=False))
    boot = lan.boots.sought("blade2")
    assert boot is not None and not lan.boots.is_open(boot)

    async def talk(lan: Lan) -> None:
        for _ in range(3):
            status, text = await lan.say(BLADE2, "POST", "/v1/join", lan.ticket(boot))
            assert status == 503 and "./lab swarm admit blade2" in text and TOKEN not in text
        assert lan.boots.open("blade2") is not None
        assert await lan.joins(BLADE2, lan.ticket(boot)) == 200

    lan.run(talk)
    assert [event.state for event in lan.seen.of(Ticket)] == ["late", "redeemed"]  # told once
    assert "refused" not in lan.asked  # and no reason to change the token


def test_the_window_closes_by_itself(tmp_path: Path) -> None:
    lan = Lan(tmp_path, SwarmRules(window_s=60))
    boot = lan.boots.begin("blade1", "power", time.time() - 61)

    async def talk(lan: Lan) -> None:
        assert await lan.joins(BLADE1, lan.ticket(boot)) == 503

    lan.run(talk)
    assert lan.asked == []


@pytest.mark.parametrize("going", ["reboot", "poweroff", ""])
def test_who_says_it_will_be_back_may_come_back(tmp_path: Path, going: str) -> None:
    lan = Lan(tmp_path, SwarmRules(window_on_discover=False))
    boot = lan.boots.begin("blade1", "power")
    lan.boots.joined("blade1")

    async def talk(lan: Lan) -> None:
        form = {"going": going} if going else None
        assert (await lan.say(BLADE1, "POST", "/v1/leave", lan.ticket(boot), form))[0] == 200
        again = lan.boots.sought("blade1")
        assert again is not None and again.cause == "pxe"
        assert await lan.joins(BLADE1, lan.ticket(again)) == (200 if going == "reboot" else 503)

    lan.run(talk)
