"""Beside a router's DHCP: dnsmasq gives the addresses, our proxy the boot files, and a blade is known by its card."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from labkit.boot.loaders import FILES
from labkit.events import BootStarted, Dhcp, Ticket, Transfer, Trouble, UnknownMachine
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.machines.virtual.network import tap_name
from labkit.machines.virtual.qemu import OVMF_VARS, Machine
from labkit.netboot.boots import ticket
from labkit.netboot.dhcp import NOWHERE, Message, Option
from tests.rig.dhcp import HTTP_EFI, IPXE, PXE_BIOS, PXE_EFI
from tests.rig.firmware import Firmware
from tests.rig.net import BLADE1, BLADE2, STRANGER, Desk, Net, wait_until

pytestmark = pytest.mark.netns

BLADE3, BLADE4 = "52:54:00:4d:00:03", "52:54:00:4d:00:04"
LAB = f"""
network: {{kind: interface, interface: br0, subnet: 10.77.0.0/24, server: 10.77.0.1, dhcp: proxy}}
bmc: {{password_file: bmc.password}}
boot: ipxe
blades:
  - {{name: blade1, macs: ["{BLADE1}"], address: 10.77.0.11, bmc: {{address: 10.99.0.1}}}}
  - {{name: blade2, macs: ["{BLADE2}"], address: 10.77.0.12, bmc: {{address: 10.99.0.2}}, firmware: uefi}}
  - {{name: blade3, macs: ["{BLADE3}"], address: 10.77.0.13, bmc: {{address: 10.99.0.3}}, firmware: uefi-http}}
  - {{name: blade4, macs: ["{BLADE4}"], address: 10.77.0.14, bmc: {{address: 10.99.0.4}}}}
"""
OURS, ROUTER = "10.77.0.1", "10.77.0.254"
ROUTED = [IPv4Address("10.77.0.150") + number for number in range(31)]
LEASE = {Option.LEASE_TIME, Option.RENEWAL_TIME, Option.REBINDING_TIME, Option.SUBNET_MASK, Option.ROUTER}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    if shutil.which("dnsmasq") is None:
        pytest.skip("not installed: dnsmasq; ./lab setup installs it")
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "bmc.password").write_text("x")
    net = Net(folder, LAB)
    try:
        for name in ("undionly.kpxe", "snponly.efi"):
            shutil.copy(FILES[name][0], net.images / name)
        router = net.plug("r", "00:00:5e:00:53:fe")
        net.inside(router, "ip", "address", "add", f"{ROUTER}/24", "dev", "eth0")
        net.background(
            router, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0",
            f"--dhcp-range={ROUTED[0]},{ROUTED[-1]},1h", f"--dhcp-leasefile={folder}/router.leases", "--no-ping",
            "--dhcp-authoritative", f"--pid-file={folder}/router.pid", "--user=root",
        )  # fmt: skip
        net.start()
        yield net
    finally:
        net.close()


@pytest.fixture(scope="module")
def blade1(net: Net) -> str:
    return net.plug("b1", BLADE1)


@pytest.mark.parametrize(
    ("options", "file", "vendor"),
    [
        (PXE_BIOS, b"undionly.kpxe", b"\6\1\x08\xff"),
        (PXE_EFI, b"snponly.efi", None),
        (IPXE, b"http://10.77.0.1/boot.ipxe", None),
        (HTTP_EFI, b"http://10.77.0.1/snponly.efi", None),
    ],
    ids=["BIOS", "UEFI", "iPXE", "UEFI HTTP"],
)
def test_two_offers_make_one_boot(
    net: Net, blade1: str, options: dict[int, bytes], file: bytes, vendor: bytes | None
) -> None:
    with net.socket(blade1) as sock:
        client = Firmware(sock, BLADE1, {**options, Option.CLIENT_UUID: bytes(range(17))})
        offers = client.discover(5, 2)
        assert sorted(offers) == [OURS, ROUTER]
        ours = offers[OURS]
        assert (ours.yiaddr, str(ours.siaddr), ours.file) == (NOWHERE, OURS, file)
        assert not LEASE & set(ours.options)
        assert ours.options[Option.VENDOR_CLASS] == options[60].split(b":")[0]
        assert ours.options.get(Option.VENDOR) == vendor
        assert ours.options[Option.CLIENT_UUID] == bytes(range(17))
        address = client.take(offers[ROUTER]).yiaddr
        assert address in ROUTED
        net.inside(blade1, "ip", "address", "replace", f"{address}/24", "dev", "eth0")
        for message in (Message.REQUEST, Message.INFORM):
            named = client.ask_boot_service(OURS, address, message)
            assert (named.yiaddr, str(named.siaddr), named.file) == (NOWHERE, OURS, file)
            assert not LEASE & set(named.options)
    assert net.told(Dhcp, blade="blade1", message="DISCOVER", reply="OFFER", address="", file=file.decode())


def test_a_boot_server_type_is_repeated(net: Net, blade1: str) -> None:
    item = b"\x47\4\0\0\0\0"
    with net.socket(blade1) as sock:
        client = Firmware(sock, BLADE1, {**PXE_BIOS, Option.VENDOR: item + b"\xff"})
        named = client.ask_boot_service(OURS, ROUTED[0])
    assert named.options[Option.VENDOR] == item + b"\6\1\x08\xff"


def test_who_is_no_firmware_of_the_lab_hears_nothing_from_us(net: Net, blade1: str) -> None:
    stranger = net.plug("x1", STRANGER)
    for space, mac, options in ((blade1, BLADE1, {}), (stranger, STRANGER, {}), (stranger, STRANGER, PXE_BIOS)):
        with net.socket(space) as sock:
            assert list(Firmware(sock, mac, options).discover(1)) == [ROUTER]
    [unknown] = net.told(UnknownMachine)  # the one that wanted to boot
    assert (unknown.mac, unknown.adopt) == (STRANGER, f"./lab adopt {STRANGER}")


def test_a_blade_fetches_and_joins_from_the_address_the_router_gave_it(net: Net, blade1: str) -> None:
    net.inside(blade1, "ip", "address", "flush", "dev", "eth0")
    with net.socket(blade1) as sock:
        client = Firmware(sock, BLADE1, PXE_BIOS)
        address = client.take(client.discover(5, 2)[ROUTER]).yiaddr
    net.inside(blade1, "ip", "address", "add", f"{address}/24", "dev", "eth0")
    got = net.folder / "got"
    net.inside(blade1, "busybox", "tftp", "-g", "-r", "undionly.kpxe", "-l", str(got), OURS)
    assert got.read_bytes() == (net.images / "undionly.kpxe").read_bytes()
    wait_until(lambda: net.told(Transfer, blade="blade1", path="undionly.kpxe", state="done", address=str(address)))
    assert "oem.cpio.gz" in net.curl(blade1, "/boot.ipxe")[1]
    boot = net.told(BootStarted, blade="blade1")[-1].boot
    header = f"X-Labkit-Ticket: {ticket(net.state.key('tickets'), 'blade1', boot).reveal()}"
    desk = Desk(net.state.swarmd)
    try:
        assert net.curl(blade1, "/v1/join", "-X", "POST", "-H", header)[0] == 200
        thief = net.plug("x2", "00:00:5e:00:53:98")
        net.inside(thief, "ip", "address", "add", "10.77.0.77/24", "dev", "eth0")
        assert net.curl(thief, "/v1/join", "-X", "POST", "-H", header)[0] == 403
        assert net.curl(thief, "/labos/oem.cpio.gz")[0] == 404
    finally:
        desk.close()
    [joined] = [request for request in desk.asked if request["verb"] == "join"]
    assert joined["address"] == str(address)
    assert [event.state for event in net.told(Ticket, boot=boot)] == ["redeemed", "refused"]
    [trouble] = net.told(Trouble, blade="blade1")
    assert f"lab.yaml says 10.77.0.11: write 'address: {address}'" in trouble.detail


def test_it_goes_on_after_it_was_killed(net: Net, blade1: str) -> None:
    assert net.stop(signal.SIGKILL) == -signal.SIGKILL
    net.start()
    assert net.curl(blade1, "/boot.ipxe")[0] == 200
    assert rpc.call(net.state.bootd, "boots")["boots"]["blade1"]["id"]


@pytest.mark.qemu
def test_real_firmware_boots_behind_a_router(net: Net) -> None:
    """OVMF by PXE, OVMF by HTTP, and SeaBIOS with iPXE in the card's ROM, all at once, as far as their kernels."""
    blades = lab_yaml.load(net.folder / "lab.yaml").blades[1:]
    began = time.time()
    for blade in blades:
        place = net.folder / blade.name
        shutil.copyfile(OVMF_VARS, f"{place}.vars")
        start_machine(net, Machine(
            blade, "tcg,thread=multi", place.with_suffix(".qmp"), place.with_suffix(".log"), 7000 + blade.slot, 0,
            place.with_suffix(".vars"),
        ))  # fmt: skip

    def kernels() -> bool:
        done = net.told(Transfer, path="labos/vmlinuz", state="done", protocol="http")
        return {event.blade for event in done if event.time > began} == {blade.name for blade in blades}

    wait_until(kernels, 120)
    for blade, client in zip(blades, ("pxe", "http", "ipxe"), strict=True):
        offered = net.told(Dhcp, blade=blade.name, client=client, message="DISCOVER", reply="OFFER")
        assert offered and not any(event.address for event in offered)


def start_machine(net: Net, machine: Machine) -> None:
    """A machine on a tap of the bridge."""
    tap = tap_name(machine.blade.slot)
    net.inside(net.server, "ip", "tuntap", "add", "dev", tap, "mode", "tap")
    net.inside(net.server, "ip", "link", "set", tap, "master", "br0", "up")
    net.background(net.server, *machine.command())
