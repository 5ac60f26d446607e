"""DHCP replies: their bytes, where they go, what they bring back, and the boot file each kind of firmware gets."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from labkit.boot import BootSecrets, plan, resources
from labkit.boot.loaders import LOADERS
from labkit.lab import BootMethod
from labkit.lab.secret import Secret
from labkit.netboot.dhcp import BROADCAST_FLAG, NOWHERE, Message, Option, encode
from labkit.netboot.dhcp.replies import EVERYWHERE
from tests.rig.dhcp import (
    ADDRESS,
    ELSEWHERE,
    HTTP_EFI,
    IPXE,
    IPXE_EFI,
    NOW,
    POOL,
    PXE_BIOS,
    PXE_EFI,
    SERVER,
    STRANGER,
    answer,
    asked,
    bound,
    make_lab,
    only,
    request,
    selecting,
    told,
)

RELAY = IPv4Address("10.77.0.250")
WITH_POOL = make_lab(pool=POOL)


def test_an_offer_byte_for_byte() -> None:
    """The answer to a BIOS PXE ROM that sends a client id and a UUID."""
    uuid = b"\0" + bytes(range(16))
    packet = request(Message.DISCOVER, options={**PXE_BIOS, Option.CLIENT_ID: b"\1id", Option.CLIENT_UUID: uuid})
    data = encode(only(answer(packet)).packet)
    assert data[:4] == bytes((2, 1, 6, 0))
    assert data[4:12] == bytes.fromhex("1234abcd00000000")
    assert data[12:28] == bytes(4) + ADDRESS.packed + SERVER.packed + bytes(4)
    assert data[28:44] == bytes.fromhex("5254004d0001") + bytes(10)
    assert data[44:108] == b"10.77.0.1".ljust(64, b"\0")
    assert data[108:236] == b"pxelinux.0".ljust(128, b"\0")
    assert data[236:] == (
        bytes.fromhex("63825363")
        + b"\x35\1\2"  # OFFER
        + b"\x36\4\x0a\x4d\0\1"  # server identifier
        + b"\x33\4\0\0\x0e\x10\x3a\4\0\0\7\x08\x3b\4\0\0\x0c\x4e"  # 3,600 s, T1 1,800 s, T2 3,150 s
        + b"\1\4\xff\xff\xff\0"
        + b"\3\4\x0a\x4d\0\1"
        + b"\x1c\4\x0a\x4d\0\xff"
        + b"\x0c\6blade1"
        + b"\x3c\x09PXEClient"
        + b"\x2b\4\6\1\x08\xff"
        + b"\x42\x0a10.77.0.1\0"
        + b"\x43\x0bpxelinux.0\0"
        + b"\x3d\3\1id"
        + b"\x61\x11"
        + uuid
        + b"\xff"
    )


@pytest.mark.parametrize("flags", [0, BROADCAST_FLAG])
def test_a_client_without_an_address_hears_a_broadcast(flags: int) -> None:
    reply = only(answer(request(Message.DISCOVER, flags=flags)))
    assert (reply.to, reply.port, reply.packet.flags) == (EVERYWHERE, 68, flags)


def test_a_client_with_an_address_is_answered_there() -> None:
    reply = only(answer(request(Message.REQUEST, ciaddr=ADDRESS), leases=bound()))
    assert (reply.to, reply.port, reply.packet.ciaddr) == (ADDRESS, 68, ADDRESS)


def test_a_relay_gets_the_reply_and_its_option_82_last() -> None:
    options = {Option.RELAY_AGENT: b"\1\4port", **PXE_BIOS, Option.CLIENT_ID: b"\1id"}
    reply = only(answer(request(Message.DISCOVER, options=options, giaddr=RELAY)))
    assert (reply.to, reply.port, reply.packet.giaddr) == (RELAY, 67, RELAY)
    assert list(reply.packet.options.items())[-1] == (Option.RELAY_AGENT, b"\1\4port")
    nak = only(answer(request(Message.REQUEST, options={**asked(ADDRESS + 9), 82: b"x"}, giaddr=RELAY)))
    assert (nak.to, nak.port, nak.packet.flags) == (RELAY, 67, BROADCAST_FLAG)
    assert list(nak.packet.options)[-1] == 82


def test_a_relay_in_another_network_gets_silence() -> None:
    assert answer(request(Message.DISCOVER, giaddr=ELSEWHERE)).replies == ()
    assert answer(request(Message.DISCOVER, STRANGER, giaddr=ELSEWHERE), WITH_POOL).replies == ()


@pytest.mark.parametrize(("wish_s", "given_s"), [(None, 3600), (600, 600), (1, 120), (2**32 - 1, 3600)])
def test_lease_times(wish_s: int | None, given_s: int) -> None:
    options = {} if wish_s is None else {51: wish_s.to_bytes(4, "big")}
    decision = answer(request(Message.REQUEST, options={**selecting(), **options}))
    got = only(decision).packet.options
    assert [int.from_bytes(got[code], "big") for code in (51, 58, 59)] == [given_s, given_s // 2, given_s * 7 // 8]
    assert decision.leases.leases[ADDRESS].until == NOW + given_s


def test_a_reply_is_no_longer_than_the_client_can_take() -> None:
    long_id = {**PXE_BIOS, Option.CLIENT_ID: bytes(230)}
    short = only(answer(request(Message.DISCOVER, options={**long_id, 57: b"\2\x40"}))).packet
    assert len(encode(short)) <= 576 - 28
    assert Option.SERVER_NAME not in short.options and short.file == b"pxelinux.0"
    roomy = only(answer(request(Message.DISCOVER, options={**long_id, 57: b"\5\xdc"}))).packet
    assert Option.SERVER_NAME in roomy.options
    relayed = {**PXE_BIOS, Option.RELAY_AGENT: bytes(240), Option.CLIENT_ID: bytes(200)}
    packet = only(answer(request(Message.DISCOVER, options=relayed, giaddr=RELAY))).packet
    assert Option.RELAY_AGENT not in packet.options
    assert len(encode(packet)) <= 576 - 28


# --- boot files ---


@pytest.mark.parametrize(
    ("method", "client", "file", "kind"),
    [
        (BootMethod.PXELINUX, PXE_BIOS, "pxelinux.0", "pxe"),
        (BootMethod.PXELINUX, IPXE, "pxelinux.0", "ipxe"),
        (BootMethod.PXELINUX, PXE_EFI, "syslinux.efi", "pxe"),
        (BootMethod.PXELINUX, IPXE_EFI, "syslinux.efi", "ipxe"),
        (BootMethod.LPXELINUX, PXE_EFI, "snponly.efi", "pxe"),
        (BootMethod.LPXELINUX, IPXE_EFI, "http://10.77.0.1/boot.ipxe", "ipxe"),
        (BootMethod.LPXELINUX, HTTP_EFI, "http://10.77.0.1/snponly.efi", "http"),
        (BootMethod.PXELINUX, HTTP_EFI, "", "http"),
        (BootMethod.PXELINUX, {}, "", "os"),
        (BootMethod.LPXELINUX, PXE_BIOS, "lpxelinux.0", "pxe"),
        (BootMethod.LPXELINUX, IPXE, "pxelinux.0", "ipxe"),
        (BootMethod.IPXE, PXE_BIOS, "undionly.kpxe", "pxe"),
        (BootMethod.IPXE, PXE_EFI, "snponly.efi", "pxe"),
        (BootMethod.IPXE, HTTP_EFI, "http://10.77.0.1/snponly.efi", "http"),
        (BootMethod.IPXE, IPXE, "http://10.77.0.1/boot.ipxe", "ipxe"),
        (BootMethod.IPXE, IPXE_EFI, "http://10.77.0.1/boot.ipxe", "ipxe"),
        (BootMethod.GRUB, PXE_EFI, "shimx64.efi", "pxe"),
        (BootMethod.GRUB, PXE_BIOS, "pxelinux.0", "pxe"),
        (BootMethod.GRUB, IPXE, "pxelinux.0", "ipxe"),
        (BootMethod.GRUB, HTTP_EFI, "", "http"),
        (BootMethod.GRUB, IPXE_EFI, "", "ipxe"),
        (BootMethod.GRUB, {}, "", "os"),
        (BootMethod.IPXE, {}, "", "os"),
        (BootMethod.IPXE, {60: b"docker"}, "", "os"),
    ],
)
def test_the_boot_file(method: BootMethod, client: dict[int, bytes], file: str, kind: str) -> None:
    decision = answer(request(Message.DISCOVER, options=client), make_lab(method))
    reply, event = only(decision).packet, told(decision)
    assert (event.file, event.client) == (file, kind)
    assert reply.file == file.encode()
    assert reply.options.get(Option.BOOT_FILE, b"") == (file.encode() + b"\0" if file else b"")
    assert (reply.siaddr, reply.sname) == ((SERVER, b"10.77.0.1") if file else (NOWHERE, b""))
    assert reply.yiaddr == ADDRESS  # with a boot file or without


def test_a_firmware_without_a_loader_is_said() -> None:
    decision = answer(request(Message.DISCOVER, options=HTTP_EFI))
    assert told(decision).reason == "boot method pxelinux has no loader for http clients with efi-x64 firmware"


def test_who_is_told_what_beside_the_file() -> None:
    def options(client: dict[int, bytes], method: BootMethod = BootMethod.IPXE) -> dict[int, bytes]:
        return dict(only(answer(request(Message.DISCOVER, options=client), make_lab(method))).packet.options)

    bios = options(PXE_BIOS)
    assert (bios[60], bios[43]) == (b"PXEClient", b"\6\1\x08\xff")
    efi = options(PXE_EFI)
    assert 60 not in efi and 43 not in efi  # PXEClient without a boot server behind it ends in PXE-E55
    http = options(HTTP_EFI)
    assert (http[60], 43 in http) == (b"HTTPClient", False)
    ipxe = options(IPXE)
    assert (ipxe[175], 60 in ipxe, 43 in ipxe) == (b"\xb0\1\1", False, False)


@pytest.mark.parametrize("sign", [{77: b"iPXE"}, {77: b"\4iPXE"}, {175: b"\xb1\5\1\x1a\xf4\x10\0"}])
def test_ipxe_is_known_by_each_of_its_signs_and_does_not_load_itself_again(sign: dict[int, bytes]) -> None:
    packet = request(Message.DISCOVER, options={**PXE_BIOS, **sign})
    decision = answer(packet, make_lab(BootMethod.IPXE, http_port=8080))
    assert told(decision).file == "http://10.77.0.1:8080/boot.ipxe"


@pytest.mark.parametrize(
    ("options", "arch", "file"),
    [
        ({60: b"PXEClient", 93: b"\0\x63\0\0"}, "99,0", "undionly.kpxe"),
        ({60: b"PXEClient", 93: b"\0\x07\0\x09"}, "7,9", "snponly.efi"),
        ({60: b"PXEClient", 93: b"\0\x63"}, "99", ""),
        ({60: b"PXEClient", 93: b"\0"}, "", "undionly.kpxe"),
        ({60: b"PXEClient:Arch:00009:UNDI:003000"}, "9", "snponly.efi"),
        ({60: b"PXEClient"}, "", "undionly.kpxe"),
        ({60: b"PXEClient:Arch:zzzzz"}, "", "undionly.kpxe"),
    ],
    ids=["the known one of a list", "a list", "unknown", "half a number", "only in option 60", "none", "nonsense"],
)
def test_architectures(options: dict[int, bytes], arch: str, file: str) -> None:
    event = told(answer(request(Message.DISCOVER, options=options), make_lab(BootMethod.IPXE)))
    assert (event.arch, event.file, event.reply) == (arch, file, "OFFER")


@pytest.mark.parametrize(
    ("arch", "file"),
    [(7, "shimx64.efi"), (9, "shimx64.efi"), (0, "pxelinux.0"), (6, ""), (10, ""), (11, ""), (16, "")],
    ids=["EFI x64 in practice", "EFI x64", "BIOS", "EFI IA32", "EFI ARM", "EFI ARM64", "EFI x64 by HTTP"],
)
def test_shim_is_for_64_bit_uefi_alone(arch: int, file: str) -> None:
    kind = b"HTTPClient" if arch == 16 else b"PXEClient"
    packet = request(Message.DISCOVER, options={60: kind, 93: arch.to_bytes(2, "big")})
    assert told(answer(packet, make_lab(BootMethod.GRUB))).file == file


@pytest.mark.parametrize("method", BootMethod)
def test_every_loader_is_a_file_of_the_boot(method: BootMethod) -> None:
    lab = make_lab(method)
    blade = lab.blades[0]
    files = resources(lab, blade, plan(lab, blade, "boot", BootSecrets(Secret("ticket"))))
    named = {file for (of, _, _), file in LOADERS.items() if of is method}
    assert named <= set(files)
