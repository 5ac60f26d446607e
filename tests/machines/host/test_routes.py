"""Which networks a machine has a way to."""

from __future__ import annotations

from ipaddress import IPv4Network

from labkit.machines.host.routes import destinations, reached_networks

PRINTED = [
    {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
    {"dst": "192.168.1.0/24", "dev": "eth0", "scope": "link"},
    {"dst": "10.8.0.0/16", "gateway": "192.168.1.9", "dev": "eth0"},
    {"type": "local", "dst": "192.168.1.2", "dev": "eth0", "table": "local"},
    {"type": "local", "dst": "127.0.0.0/8", "dev": "lo", "table": "local"},
    {"type": "broadcast", "dst": "192.168.1.255", "dev": "eth0", "table": "local"},
    {"type": "unreachable", "dst": "172.16.0.0/12"},
    {"dst": "0.0.0.0/1", "dev": "tun0"},
    {"dst": "fd00::/64", "dev": "eth0"},
]


def test_routes_other_than_the_default_one() -> None:
    found = destinations(PRINTED)
    assert [str(one) for one in found] == ["10.8.0.0/16", "192.168.1.0/24", "192.168.1.2/32"]
    assert destinations([]) == ()


def test_those_of_this_machine_can_be_read() -> None:
    assert not any(one.is_loopback or one == IPv4Network("0.0.0.0/0") for one in reached_networks())
