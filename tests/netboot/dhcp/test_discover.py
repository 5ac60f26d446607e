"""Machines that are not in the lab: whose firmware gets a boot file, and whose does not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from labkit.events import UnknownMachine
from labkit.lab import DhcpMode, Lab
from labkit.netboot.dhcp import Message, Option
from tests.rig.dhcp import (
    FIRST,
    HTTP_EFI,
    IPXE,
    IPXE_EFI,
    MAC,
    PXE_BIOS,
    PXE_EFI,
    STRANGER,
    WITH_POOL,
    answer,
    make_lab,
    only,
    request,
    told,
)

URL = "http://10.77.0.1"


def discovering(lab: Lab = WITH_POOL, dhcp: DhcpMode = DhcpMode.SERVER) -> Lab:
    return replace(lab, network=replace(lab.network, discover=True, dhcp=dhcp))


PROXY = discovering(make_lab(), DhcpMode.PROXY)
ASKERS = [
    (PXE_BIOS, "lpxelinux.0"), (PXE_EFI, "snponly.efi"), (IPXE, "pxelinux.0"), (IPXE_EFI, f"{URL}/boot.ipxe"),
    (HTTP_EFI, f"{URL}/snponly.efi"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "file"), ASKERS)
def test_firmware_gets_a_file_where_the_lab_discovers(options: dict[int, bytes], file: str) -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, options), discovering())
    reply = only(decision)
    assert (reply.packet.yiaddr, told(decision).file) == (FIRST, file)
    assert decision.boots == "" and [event for event in decision.events if isinstance(event, UnknownMachine)]
    decision = answer(request(Message.DISCOVER, STRANGER, options), PROXY)
    assert (only(decision).packet.yiaddr, told(decision).file) == (IPv4Address(0), file)


@pytest.mark.parametrize("options", [options for options, _ in ASKERS])
def test_nobody_is_booted_where_it_does_not(options: dict[int, bytes]) -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, options), WITH_POOL)
    assert told(decision).file == "" and Option.BOOT_FILE not in only(decision).packet.options
    for lab in (make_lab(), replace(PROXY, network=replace(PROXY.network, discover=False))):
        assert answer(request(Message.DISCOVER, STRANGER, options), lab).replies == ()


@pytest.mark.parametrize("options", [{}, {60: b"MSFT 5.0"}, {60: b"android-dhcp-14"}])
def test_a_system_gets_no_file_and_behind_a_proxy_no_answer(options: dict[int, bytes]) -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, options), discovering())
    assert told(decision).file == "" and Option.BOOT_FILE not in only(decision).packet.options
    assert answer(request(Message.DISCOVER, STRANGER, options), PROXY).replies == ()


def test_a_blade_boots_as_ever() -> None:
    for lab in (WITH_POOL, discovering()):
        assert told(answer(request(Message.DISCOVER, MAC, PXE_BIOS), lab)).file == "pxelinux.0"


def test_what_no_loader_is_for_is_told() -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, {60: b"PXEClient:Arch:00011", 93: b"\0\x0b"}), discovering())
    assert "no loader" in told(decision).reason and told(decision).file == ""
