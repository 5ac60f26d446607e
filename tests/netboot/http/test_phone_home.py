"""The way home for blades that have booted: tickets, joining, stages and leaving."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from labkit.events import Note, Phoned, Space, Ticket, Trouble
from labkit.netboot.http import phone_home
from labkit.netboot.http.phone_home import HEADER
from tests.rig.http_server import Rig


def test_join_until_joined(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        rig.desk.refusing["join"] = 1
        async with client.post(f"{rig.root}/v1/join", headers=rig.ticket) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
        for _ in range(2):  # the answer may get lost: a ticket is good until the blade has joined
            async with client.post(f"{rig.root}/v1/join", headers=rig.ticket) as answer:
                assert answer.status == 200
                assert (await answer.json())["JoinToken"] == "SWMTKN-1"
        form = {
            "stage": "joined",
            "uptime_s": "55.25",
            "init_s": "3.5",
            "ignition_s": "soon",
            "clock_off_s": "-753315200",
        }
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data=form) as answer:
            assert answer.status == 200
        async with client.post(f"{rig.root}/v1/join", headers=rig.ticket) as answer:
            assert (answer.status, await answer.text()) == (403, "this boot has joined already\n")
        await asyncio.sleep(0.05)

    rig.run(talk)
    expected = {"blade": "blade1", "boot": rig.boot.id, "cause": "power", "address": "127.0.0.1"}
    assert rig.desk.asked[0] == ("join", expected)
    assert rig.desk.verbs() == ["join", "join", "join", "joined", "refused"]
    assert [event.state for event in rig.seen.of(Ticket)] == ["redeemed", "redeemed", "refused"]
    [phoned] = rig.seen.of(Phoned)
    assert (phoned.stage, phoned.uptime_s, phoned.init_s, phoned.ignition_s) == ("joined", 55.25, 3.5, -1.0)
    assert phoned.clock == "24 years behind"
    boot = rig.clients.boots.current("blade1")
    assert boot is not None and boot.joined


@pytest.mark.parametrize("said", ["", "soon", "1e9", "-", "9" * 12, "--5"])
def test_a_clock_that_says_nonsense_is_no_clock(rig: Rig, said: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        form = {"stage": "os", "clock_off_s": said}
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data=form) as answer:
            assert answer.status == 200
        async with client.head(f"{rig.root}/healthz") as answer:  # where blades have the time from
            assert answer.headers["Date"].endswith(" GMT")

    rig.run(talk)
    assert [event.clock_off_s for event in rig.seen.of(Phoned)] == [0.0]


@pytest.mark.parametrize("verb", ["leave", "left"])
def test_leaving(rig: Rig, verb: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        rig.desk.refusing[verb] = 1
        for status in (503, 200):
            async with client.post(f"{rig.root}/v1/{verb}", headers=rig.ticket) as answer:
                assert answer.status == status

    rig.run(talk)
    assert rig.desk.asked == [(verb, {"blade": "blade1", "boot": rig.boot.id})] * 2


@pytest.mark.parametrize("verb", ["join", "stage", "leave", "left", "space", "member", "unlock"])
def test_without_the_right_ticket_nothing_is_to_be_had(rig: Rig, verb: str) -> None:
    other = rig.clients.boots.begin("blade2", "power")
    stolen = rig.clients.boots.ticket(other).reveal()
    shown = [{}, {HEADER: ""}, {HEADER: "0" * 64}, {HEADER: "ü"}, {HEADER: stolen}]

    async def talk(client: aiohttp.ClientSession) -> None:
        for headers in shown:
            async with client.post(f"{rig.root}/v1/{verb}", headers=headers, data={"stage": "joined"}) as answer:
                assert answer.status == 403
                assert "SWMTKN" not in await answer.text()
            await asyncio.sleep(0)

    rig.run(talk)
    refused = rig.seen.of(Ticket)
    assert [event.state for event in refused] == ["refused"] * 5
    assert [event.blade for event in refused] == ["blade1"] * 4 + ["blade2"]
    assert refused[-1].reason == "this blade's ticket came from an address that is not its own"
    assert set(rig.desk.verbs()) == {"refused"}
    assert rig.seen.of(Phoned) == []


def test_the_ticket_of_the_boot_before_is_worthless(rig: Rig) -> None:
    rig.clients.boots.begin("blade1", "power")

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{rig.root}/v1/join", headers=rig.ticket) as answer:
            assert answer.status == 403

    rig.run(talk)


def test_stages_and_bodies_that_are_not_right(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data={"stage": "root"}) as answer:
            assert answer.status == 400
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data={"stage": "x" * 100_000}) as answer:
            assert answer.status == 413

    rig.run(talk)
    assert rig.seen.of(Phoned) == []


def test_a_blade_that_was_put_out_joins_once_more(rig: Rig) -> None:
    async def ask(client: aiohttp.ClientSession, path: str, **form: str) -> int:
        async with client.post(f"{rig.root}/v1/{path}", headers=rig.ticket, data=form) as answer:
            return answer.status

    async def talk(client: aiohttp.ClientSession) -> None:
        assert await ask(client, "member", swarm="PEM") == 200  # it has not joined yet, and nobody is asked
        assert await ask(client, "stage", stage="joined") == 200
        assert await ask(client, "member", swarm="PEM") == 200
        assert await ask(client, "join") == 403
        rig.desk.refusing["member"] = 1
        assert await ask(client, "member", swarm="PEM") == 503  # nobody knows: it stays
        rig.desk.membership = "another"
        assert [await ask(client, "member", swarm="PEM") for _ in range(2)] == [409, 409]
        assert await ask(client, "join") == 403
        rig.desk.membership = "removed"
        assert [await ask(client, "member", swarm="PEM") for _ in range(2)] == [410, 410]
        assert [await ask(client, "join") for _ in range(2)] == [200, 200]
        assert await ask(client, "stage", stage="joined") == 200
        assert await ask(client, "join") == 403

    rig.run(talk)
    assert ("member", {"blade": "blade1", "boot": rig.boot.id, "swarm": "PEM"}) in rig.desk.asked
    [note] = rig.seen.of(Note)
    assert note.detail == "it was put out of the swarm while it ran, leaves, and joins again"
    [trouble] = rig.seen.of(Trouble)
    assert "another swarm than the lab's" in trouble.detail and "docker ps" in trouble.fix


def test_a_manager_is_given_the_key_of_its_engine(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        rig.desk.refusing["unlock"] = 1
        for status in (503, 200):
            async with client.post(f"{rig.root}/v1/unlock", headers=rig.ticket) as answer:
                assert answer.status == status
                said = await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        assert json.loads(said) == {"UnlockKey": "SWMKEY-1-secret"}

    rig.run(talk)
    [note] = rig.seen.of(Note)
    assert note.blade == "blade1" and "waited for the swarm's key" in note.detail and "SWMKEY" not in str(vars(note))


def test_a_blade_that_ran_full_tells_with_what(rig: Rig) -> None:
    form = {
        "state": "full", "size_kib": "1000000", "used_kib": "950000", "layers_kib": "300000", "logs_kib": "600000",
        "volumes_kib": "0", "log_kib": "590000", "log_of": "web.1.abc\n", "layer_kib": "soon", "layer_of": "",
    }  # fmt: skip

    async def talk(client: aiohttp.ClientSession) -> None:
        for data, status in ((form, 200), ({"state": "room"}, 200), ({"state": "wet"}, 400), ({}, 400)):
            async with client.post(f"{rig.root}/v1/space", headers=rig.ticket, data=data) as answer:
                assert answer.status == status
        async with client.post(f"{rig.root}/v1/space", data=form) as answer:
            assert answer.status == 403

    rig.run(talk)
    full, room = rig.seen.of(Space)
    assert (full.blade, full.boot, full.used_b, full.size_b) == ("blade1", rig.boot.id, 950_000 << 10, 1_000_000 << 10)
    assert full.detail == "logs 614.4 MB (most by web.1.abc: 604.2 MB), images and what containers wrote 307.2 MB"
    assert (room.state, room.detail) == ("room", "")


def test_a_desk_that_restarts_is_told_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_home, "RETRY_S", 0.01)
    rig.desk.refusing["joined"] = 2

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data={"stage": "joined"}) as answer:
            assert answer.status == 200
        await asyncio.sleep(0.2)

    rig.run(talk)
    assert rig.desk.verbs() == ["joined"] * 3
    assert rig.seen.of(Trouble) == []


def test_a_desk_that_never_hears_is_trouble(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_home, "RETRY_S", 0.001)
    monkeypatch.setattr(phone_home, "TOLD_TIMES", 3)
    rig.desk.refusing["joined"] = 99

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data={"stage": "joined"}) as answer:
            assert answer.status == 200
        await asyncio.sleep(0.2)

    rig.run(talk)
    [trouble] = rig.seen.of(Trouble)
    assert trouble.detail == "the swarm desk did not hear 'joined': the swarm does not exist yet"
