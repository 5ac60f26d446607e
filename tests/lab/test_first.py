"""The first lab file of somebody with real blades: whatever was found, it is a lab that takes its first machine."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import DhcpMode, NetworkKind, lab_yaml
from labkit.lab.lab_yaml import adopt, first
from labkit.lab.lab_yaml.first import Card

HOME = Card("eth0", IPv4Interface("192.168.1.5/24"), is_way_out=True)
RACK = Card("eth1", IPv4Interface("10.0.40.2/24"))
BARE = Card("eth2")
BRIDGE = Card("br0", IPv4Interface("172.17.0.1/16"), is_board=False)


def test_the_card_that_blades_are_likely_plugged_into() -> None:
    assert first.likely([BRIDGE, HOME, BARE, RACK]) == RACK
    assert first.likely([BRIDGE, HOME, BARE]) == BARE
    assert first.likely([BRIDGE, HOME]) == HOME
    assert first.likely([]) is None


@pytest.mark.parametrize("card", [HOME, RACK, BARE, BRIDGE])
@pytest.mark.parametrize("dhcp", DhcpMode)
@pytest.mark.parametrize("folder", ["rack", "my lab", "ü"])
def test_what_is_written_is_a_lab_that_takes_its_first_blade(
    tmp_path: Path, card: Card, dhcp: DhcpMode, folder: str
) -> None:
    path = tmp_path / folder / "lab.yaml"
    text = first.write(path, card, card.subnet, dhcp)
    lab = lab_yaml.parse(text, path)
    assert (lab.blades, lab.network.kind, lab.network.dhcp) == ((), NetworkKind.INTERFACE, dhcp)
    assert (lab.network.interface, lab.network.subnet) == (card.name, card.subnet)
    assert lab.network.server == (card.address.ip if card.address is not None else card.subnet[1])
    assert lab.name == ("rack" if folder == "rack" else "lab")
    [blade] = adopt.adopt(adopt.read(text, path), ("00:00:5e:00:53:01",), bmc="manual").blades
    assert blade.address in card.subnet and blade.os == "flatcar"


def test_a_subnet_of_another_place_gets_a_server_of_its_own(tmp_path: Path) -> None:
    text = first.write(tmp_path / "lab.yaml", RACK, IPv4Network("10.99.0.0/24"), DhcpMode.SERVER)
    assert "server: 10.99.0.1 " in text


def test_what_makes_no_lab_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(LabFileError):
        first.write(tmp_path / "lab.yaml", RACK, IPv4Network("10.0.40.0/31"), DhcpMode.SERVER)
