"""``./lab watch`` as a command: where its page is, and what its buttons press."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
from pathlib import Path

import aiohttp
import pytest

from labkit.cli import commands
from labkit.cli.machines import watch
from labkit.cli.swarm import verbs
from labkit.errors import ParameterError, SwarmError
from labkit.lab import Blade
from labkit.lab.process import control
from labkit.servers.client import RunningLab
from labkit.workbook.watch import server


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text("blades: [{name: blade1}, {name: blade2}]\n")
    return path


def test_it_prints_where_the_page_is_and_ends_in_order(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, found = server.serve, list[str]()

    async def and_look(*given: object) -> None:
        serving = asyncio.create_task(serve(*given))  # type: ignore[arg-type]
        [url] = capsys.readouterr().out.splitlines()
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            found.extend([url, await response.text()])
        os.kill(os.getpid(), signal.SIGINT)
        await serving

    monkeypatch.setattr(server, "serve", and_look)
    assert commands.main(["--lab", str(lab), "watch"]) == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", found[0]) and "Power buttons" in found[1]


def test_a_button_is_pressed_as_by_the_command(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed: list[tuple[str, str]] = []
    refused = SwarmError("the managers would lose their quorum")

    def power(running: RunningLab, blade: Blade, state: str, say: object) -> None:
        pressed.append((blade.name, state))

    def check(running: RunningLab, blades: list[Blade], *, in_order: bool) -> None:
        if not in_order:
            raise refused

    monkeypatch.setattr(control, "status", lambda state: {})
    monkeypatch.setattr(RunningLab, "power", power)
    monkeypatch.setattr(verbs, "check_power", check)
    press = watch._presser(argparse.Namespace(lab=lab, state=None))
    assert press("blade2", "shutdown") == "blade2: shutdown" and press("blade1", "on") == "blade1: on"
    for state in ("off", "reset"):
        with pytest.raises(SwarmError, match="quorum"):
            press("blade1", state)
    with pytest.raises(ParameterError, match="no blade blade9"):
        press("blade9", "on")
    assert pressed == [("blade2", "shutdown"), ("blade1", "on")]
