"""What blades are told of the world beyond: from the file, and from this machine where the file leaves it open."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.diagnosis.doctor.checks import examine
from labkit.diagnosis.doctor.facts import Facts
from labkit.diagnosis.doctor.findings import OK, WARNING
from labkit.errors import LabkitError
from labkit.lab import Lab, lab_yaml
from labkit.machines.host.uplink import Found, fill, parse_resolver
from labkit.netboot.dhcp import Message, Option, Packet, replies
from labkit.netboot.dhcp.replies import BootFile

REAL = """\
network:
  kind: interface
  interface: eth1
  subnet: 192.168.7.0/24
  server: 192.168.7.2
  {more}
bmc: {{password_file: bmc.password}}
blades:
  - {{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {{address: 192.168.7.201}}}}
"""
ROUTER, RESOLVER = IPv4Address("192.168.7.1"), IPv4Address("192.168.7.53")


def real(more: str = "") -> Lab:
    return lab_yaml.parse(REAL.format(more=more), Path("lab.yaml"))


def granted(lab: Lab, wanted: bytes = b"") -> dict[int, bytes]:
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((Message.DISCOVER,)), Option.PARAMETERS: wanted}
    asked = Packet(op=1, xid=1, chaddr=bytes(6), options=options)
    address = lab.blades[0].address
    reply = replies.grant(asked, lab.blades[0], lab.network, Message.OFFER, address, 3600, BootFile())
    return dict(reply.packet.options)


@pytest.mark.parametrize(
    ("text", "servers", "domain"),
    [
        ("nameserver 192.168.7.53\nsearch lab.example other.example\n", ["192.168.7.53"], "lab.example"),
        ("# made by hand\nnameserver 127.0.0.53\noptions edns0\n", [], ""),
        ("nameserver fe80::1%eth0\nnameserver ::ffff:1.2.3.4\nnameserver 10.0.0.1\n", ["10.0.0.1"], ""),
        (
            "".join(f"nameserver 10.0.0.{number}\n" for number in (1, 1, 2, 3, 4)),
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            "",
        ),
        ("domain lab.example.\nsearch .\nnameserver\n", [], "lab.example"),
        ("nameserver 999.1.1.1\nnameserver 10.0.0.1 # the router\n", ["10.0.0.1"], ""),
        ("", [], ""),
    ],
)
def test_a_resolver_is_read_for_others(text: str, servers: list[str], domain: str) -> None:
    """This machine's own loopback is no name server of a blade's."""
    assert parse_resolver(text) == (tuple(map(IPv4Address, servers)), domain)


def test_what_the_file_says_is_what_blades_are_told() -> None:
    network = real(
        "router: 192.168.7.1\n  dns: [192.168.7.53, 9.9.9.9]\n  domain: lab.example\n  ntp: [192.168.7.2]"
    ).network
    assert network.open == frozenset()
    assert fill(network, Found(IPv4Address("192.168.7.9"), (IPv4Address("1.1.1.1"),), "else.example")) == network
    told = granted(replace(real(), network=network))
    assert told[3] == ROUTER.packed
    assert told[6] == RESOLVER.packed + bytes((9, 9, 9, 9))
    assert told[15] == b"lab.example"
    assert told[42] == bytes((192, 168, 7, 2))
    assert told[119] == b"\3lab\7example\0", "RFC 3397: names as RFC 1035 writes them"


def test_who_asks_for_classless_routes_has_the_router_among_them() -> None:
    lab = replace(real(), network=real("router: 192.168.7.1").network)
    assert granted(lab, bytes((1, 3, 121)))[121] == b"\0" + ROUTER.packed, "RFC 3442: one of no bits leads everywhere"
    assert 121 not in granted(lab, bytes((1, 3)))
    assert 121 not in granted(replace(lab, network=replace(lab.network, router=None)), bytes((1, 3, 121)))


def test_what_the_file_leaves_open_is_what_was_found() -> None:
    network = fill(real("domain: none").network, Found(ROUTER, (RESOLVER,), "home.example", "/etc/resolv.conf"))
    assert (network.router, network.dns, network.domain, network.open) == (ROUTER, (RESOLVER,), "", frozenset())


def test_nothing_found_is_nothing_told() -> None:
    lab = real()
    told = granted(replace(lab, network=fill(lab.network, Found())))
    assert not {3, 6, 15, 42, 119} & set(told)


def test_none_is_an_answer() -> None:
    network = real("router: none\n  dns: []\n  domain: none").network
    assert network.open == frozenset()
    assert (network.router, network.dns) == (None, ())


def test_the_server_is_a_virtual_labs_way_out() -> None:
    lab = lab_yaml.parse("blades: [{name: a}]\n", Path("lab.yaml"))
    assert granted(lab)[3] == lab.network.server.packed
    assert lab.network.open == frozenset()


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        ("router: 10.0.0.1", 6, "the router 10.0.0.1 is outside 192.168.7.0/24"),
        ("router: nobody", 6, "'nobody' is not an IPv4 address"),
        ("dns: [9.9.9]", 6, "'9.9.9' is not an IPv4 address"),
        ("domain: Lab_1", 6, "'Lab_1' is not a domain"),
        ("dns: [9.9.9.9]\n  dhcp: proxy", 6, "with dhcp: proxy the other server tells the blades their dns"),
    ],
)
def test_mistakes_name_their_place(more: str, line: int, said: str) -> None:
    with pytest.raises(LabkitError) as caught:
        real(more)
    assert said in str(caught.value) and f"lab.yaml:{line}" in str(caught.value)


def beyond(lab: Lab, found: Found) -> tuple[str, str]:
    facts = Facts(is_up=False, beyond=fill(lab.network, found), resolver=found.resolver)
    (finding,) = (one for one in examine(lab, facts) if one.check == "network")
    return finding.state, finding.what


def test_the_doctor_says_where_it_comes_from() -> None:
    state, what = beyond(real("ntp: [192.168.7.2]"), Found(ROUTER, (RESOLVER,), "", "/etc/resolv.conf"))
    assert state == OK
    assert what == (
        "blades are told of the router 192.168.7.1 (this machine's default route by eth1), the name server "
        "192.168.7.53 (/etc/resolv.conf), the time server 192.168.7.2, no domain"
    )


def test_the_doctor_warns_of_what_nobody_chose() -> None:
    assert beyond(real(), Found())[0] == WARNING
    assert beyond(real("router: none\n  dns: []"), Found())[0] == OK
