"""The live page by real HTTP on loopback: what it sends, when, and whom it lets press a button."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from labkit import events
from labkit.errors import LabkitError, MachineError, PowerError
from labkit.workbook.watch import server
from labkit.workbook.watch.follower import Follower
from tests.rig.recorded import RUNNING
from tests.workbook.watch.test_follower import Supervised, lab

__all__ = ["lab"]
TOKEN = "t0ken"
Talk = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


class Buttons:
    """What was pressed; ``error`` is raised where there is one."""

    def __init__(self) -> None:
        self.pressed: list[tuple[str, str]] = []
        self.error: LabkitError | None = None

    def __call__(self, blade: str, state: str) -> str:
        if self.error is not None:
            raise self.error
        self.pressed.append((blade, state))
        return f"{blade}: {state}"


@pytest.fixture
def buttons(monkeypatch: pytest.MonkeyPatch) -> Buttons:
    monkeypatch.setattr(server, "TICK_S", 0.01)
    return Buttons()


def run(lab: Supervised, buttons: Buttons, talk: Talk) -> None:
    """Serve as the command does, talk, and end by Ctrl-C."""

    async def both() -> None:
        with server.listen(0) as sock:
            serving = asyncio.create_task(
                server.serve(sock, server.application(Follower(lab.file, lab.state), buttons, TOKEN))
            )
            try:
                async with aiohttp.ClientSession() as session:
                    await talk(session, f"http://127.0.0.1:{sock.getsockname()[1]}")
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                await serving

    asyncio.run(both())


@asynccontextmanager
async def stream(session: aiohttp.ClientSession, at: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, str]]]]:
    async with session.get(f"{at}/{TOKEN}/events") as response:
        assert response.content_type == "text/event-stream"

        async def read() -> dict[str, str]:
            line = await response.content.readuntil(b"\n\n")
            parts: dict[str, str] = json.loads(line.removeprefix(b"data: "))
            return parts

        yield read


def test_the_stream_sends_what_changed_through_down_and_up_again(lab: Supervised, buttons: Buttons) -> None:
    async def talk(session: aiohttp.ClientSession, at: str) -> None:
        async with stream(session, at) as read:
            first = await read()
            assert (
                first["up"] and "0 of 3 in the swarm" in first["progress"] and 'data-blade="blade3"' in first["power"]
            )
            lab.happen(*RUNNING)
            while "3 of 3 in the swarm" not in (parts := await read()).get("progress", ""):
                pass
            assert not {"up", "power", "state"} & set(parts)
            lab.status = None
            while "up" not in (parts := await read()):
                pass
            assert parts["up"] == "" and "as of" in parts["state"] and "power" not in parts
            lab.status = {}
            lab.happen(events.LabEvent(seq=9000, time=RUNNING[-1].time + 60, state="starting"))
            while not (parts := await read()).get("up"):
                pass
            assert "is up" in parts["state"]

    run(lab, buttons, talk)


def test_a_stream_without_news_beats(lab: Supervised, buttons: Buttons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BEAT_S", 0.02)
    lab.status = None

    async def talk(session: aiohttp.ClientSession, at: str) -> None:
        async with stream(session, at) as read, stream(session, at) as other:
            assert await read() == await other() != {}, "drawn for both"
            assert await read() == {} == await read()

    run(lab, buttons, talk)


def test_the_page_runs_its_own_script_and_nothing_else(lab: Supervised, buttons: Buttons) -> None:
    async def talk(session: aiohttp.ClientSession, at: str) -> None:
        async with session.get(f"{at}/{TOKEN}/") as response:
            html, rules = await response.text(), response.headers["Content-Security-Policy"]
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.S)
        assert [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts] == re.findall(
            r"'sha256-(.*?)'", rules
        )
        assert rules.startswith("default-src 'none';") and "frame-ancestors 'none'" in rules
        assert "unsafe-inline" not in rules.partition("script-src")[2].partition(";")[0]
        assert "prefers-color-scheme: dark" in html and not re.search(r"(src|href)=|https?://|url\(", html)
        ids = set(re.findall(r'id="(\w+)"', html))
        async with stream(session, at) as read:
            assert set(await read()) - {"up"} <= ids, "each part has its place"

    run(lab, buttons, talk)


OURS = "127.0.0.1:PORT"


@pytest.mark.parametrize(
    ("host", "origin", "token", "status"),
    [
        (OURS, f"http://{OURS}", TOKEN, 200),
        ("localhost:9999", "http://localhost:9999", TOKEN, 200),  # through a tunnel
        ("evil.example", "http://evil.example", TOKEN, 403),  # DNS rebinding: its name leads here
        ("127.0.0.1.evil.example:80", "http://127.0.0.1.evil.example:80", TOKEN, 403),
        (OURS, "http://evil.example", TOKEN, 403),  # CSRF: another page sends it
        (OURS, "null", TOKEN, 403),
        (OURS, "http://127.0.0.1:1", TOKEN, 403),
        (OURS, f"https://{OURS}", TOKEN, 403),
        (OURS, None, TOKEN, 403),
        (OURS, f"http://{OURS}", "guessed", 403),
        (OURS, f"http://{OURS}", "t%C3%B6ken", 403),
    ],
)
def test_only_the_page_itself_presses_a_button(
    lab: Supervised, buttons: Buttons, host: str, origin: str | None, token: str, status: int
) -> None:
    async def talk(session: aiohttp.ClientSession, at: str) -> None:
        port = at.rpartition(":")[2]
        headers = {"Host": host.replace("PORT", port)} | ({"Origin": origin.replace("PORT", port)} if origin else {})
        body = {"blade": "blade2", "state": "reset"}
        async with session.post(f"{at}/{token}/power", json=body, headers=headers) as response:
            assert response.status == status, await response.text()
        for path in (f"/{token}/", f"/{token}/nothing", "/"):
            async with session.get(f"{at}{path}", headers={"Host": headers["Host"]}) as response:
                assert response.status == (200 if path == f"/{TOKEN}/" and "evil" not in host else 403)
                assert response.headers["Cache-Control"] == "no-store"

    run(lab, buttons, talk)
    assert buttons.pressed == ([("blade2", "reset")] if status == 200 else [])


def test_what_cannot_be_pressed_is_answered_with_its_fix(lab: Supervised, buttons: Buttons) -> None:
    async def talk(session: aiohttp.ClientSession, at: str) -> None:
        async def post(body: str) -> tuple[int, str]:
            async with session.post(f"{at}/{TOKEN}/power", data=body, headers={"Origin": at}) as response:
                return response.status, await response.text()

        for body in ("", "[]", "null", '{"blade": "blade1"}', '{"blade": "blade1", "state": "pxe"}', "[" * 900):
            assert (await post(body))[0] == 400, body
        assert (await post(" " * 2000))[0] == 413
        buttons.error = PowerError("its BMC does not answer", fix="look at its cable")
        assert await post('{"blade": "blade1", "state": "on"}') == (
            409, "its BMC does not answer\n  fix: look at its cable",
        )  # fmt: skip

    run(lab, buttons, talk)
    assert buttons.pressed == []


def test_it_listens_on_loopback_and_says_who_has_the_port(tmp_path: Path) -> None:
    with server.listen(0) as sock:
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(MachineError, match=f"port {port}.*in use") as caught:
            server.listen(port)
        assert f"sport = :{port}" in caught.value.fix
