"""A virtual lab's way out is opened and taken away, and this machine is left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns
ROOT = Path(__file__).resolve().parents[2]
OPEN = """
from ipaddress import IPv4Network
from labkit.machines.virtual import nat as internet
for name in {names}:
    internet.open_way_out("lab" + name, name, IPv4Network("10.77.0.0/24"))
"""
CLOSE = """
from labkit.machines.virtual import nat as internet
for name in {names}:
    internet.close_way_out("lab" + name, name)
"""


class Somewhere:
    """A machine with a default route, and the links of two labs."""

    def __init__(self, space: str) -> None:
        self.space = space

    def __call__(self, *words: str) -> str:
        command = ["ip", "netns", "exec", self.space, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout

    def python(self, code: str, *names: str) -> None:
        self(sys.executable, "-c", code.format(names=names))

    def forwards(self) -> dict[str, str]:
        links = ("eth1", "eth2", "labone", "labtwo")
        return {link: self("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() for link in links}


@pytest.fixture
def somewhere() -> Iterator[Somewhere]:
    place = Somewhere(f"lkway{os.getpid()}")
    subprocess.run(["ip", "netns", "add", place.space], check=True)
    try:
        for link in ("eth1", "eth2", "labone", "labtwo"):
            place("ip", "link", "add", link, "type", "veth", "peer", "name", f"{link}end")
            place("ip", "link", "set", link, "up")
        place("ip", "address", "add", "198.51.100.2/24", "dev", "eth1")
        place("ip", "route", "add", "default", "via", "198.51.100.1")
        yield place
    finally:
        subprocess.run(["ip", "netns", "delete", place.space], check=True)


def test_what_a_lab_opens_goes_with_it(somewhere: Somewhere) -> None:
    before = somewhere.forwards()
    assert set(before.values()) == {"0"}
    somewhere.python(OPEN, "one")
    rules = somewhere("nft", "list", "ruleset")
    assert "table ip labkit-one" in rules and 'ip saddr 10.77.0.0/24 oifname != "labone" masquerade' in rules
    assert somewhere.forwards() == {**before, "eth1": "1", "labone": "1"}
    somewhere.python(CLOSE, "one")
    assert somewhere("nft", "list", "ruleset") == ""
    assert somewhere.forwards()["eth1"] == "0"


def test_the_last_of_two_labs_ends_the_forwarding(somewhere: Somewhere) -> None:
    somewhere.python(OPEN, "one", "two")
    somewhere.python(CLOSE, "one")
    assert somewhere.forwards()["eth1"] == "1", "the other lab needs it"
    somewhere.python(CLOSE, "two")
    assert somewhere.forwards()["eth1"] == "0"
    assert somewhere("nft", "list", "ruleset") == ""


def test_what_was_forwarded_before_is_forwarded_after(somewhere: Somewhere) -> None:
    somewhere("sysctl", "-qw", "net.ipv4.conf.eth1.forwarding=1")
    somewhere.python(OPEN, "one")
    somewhere.python(CLOSE, "one")
    assert somewhere.forwards()["eth1"] == "1"


def test_closing_twice_changes_nothing(somewhere: Somewhere) -> None:
    somewhere.python(OPEN, "one")
    somewhere.python(CLOSE, "one", "one")
    assert somewhere("nft", "list", "ruleset") == ""
