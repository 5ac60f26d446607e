"""``./lab watch``: the lab, live, as a page or as text."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.cli import arguments
from labkit.cli.answers import find_state, lab_path, say
from labkit.cli.machines.power import check_quorum
from labkit.servers import client

if TYPE_CHECKING:
    from labkit.workbook.watch.follower import Follower


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words)``, which gives its parser."""
    sub = verb("watch", watch, "the lab, live: a page for your browser, with power buttons, or --text")
    either = sub.add_mutually_exclusive_group()
    either.add_argument("--port", type=arguments.port, help="the page's port on 127.0.0.1 (default: any that is free)")
    either.add_argument("--text", action="store_true", help="the same as text, in this terminal")


def watch(options: argparse.Namespace) -> int:
    """Show the lab, up or not, until Ctrl-C. Text that goes to no terminal is written once."""
    from labkit.workbook.watch.follower import Follower

    follower = Follower(lab_path(options), find_state(options))
    if options.text:
        return _show_text(follower)
    from labkit.workbook.watch import server  # brings aiohttp

    sock, token = server.listen(options.port or 0), secrets.token_urlsafe(16)
    print(f"http://127.0.0.1:{sock.getsockname()[1]}/{token}/", flush=True)
    say("open this address in your browser; it is for you alone. Ctrl-C ends the page, and the lab goes on")
    asyncio.run(server.serve(sock, server.application(follower, _presser(options), token)))
    return 0


def _show_text(follower: Follower) -> int:
    from labkit.workbook.watch.screen import watch_on
    from labkit.workbook.watch.view import tell

    if not sys.stdout.isatty() or os.environ.get("TERM", "") in ("", "dumb"):
        print("\n".join(tell(follower.look_once())))
        return 0
    try:
        watch_on(sys.stdout, follower)
    except KeyboardInterrupt:
        pass  # which is how this ends
    return 0


def _presser(options: argparse.Namespace) -> Callable[[str, str], str]:
    """What a button of the page does: the same as ``./lab power``, for one blade."""

    def press(name: str, state: str) -> str:
        running = client.connect(options.lab, options.state)
        (blade,) = client.choose_blades(running.lab, [name])
        check_quorum(running, [blade], state)
        said: list[str] = []
        running.power(blade, state, said.append)
        return "\n".join([f"{name}: {state}", *said])

    return press
