"""What goes wrong with a boot, as the events of the real boot server show it: each sign is caused, by real packets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from labkit import events
from labkit.diagnosis import hints
from labkit.diagnosis.stuck import Watch
from labkit.events import BootStarted, Dhcp, Phoned, Ticket, Transfer, Trouble, UnknownMachine
from labkit.events.folding import fold_all
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.netboot.boots import ticket
from labkit.servers.client import RunningLab, wait_blades
from tests.rig.dhcp import PXE_BIOS
from tests.rig.firmware import Firmware
from tests.rig.known import causes, shows
from tests.rig.net import BLADE1, BLADE2, LAB, STRANGER, Net, wait_until

pytestmark = pytest.mark.netns

BLADE3 = "52:54:00:4d:00:03"
MISTAKEN = f'{LAB}  - {{name: blade3, macs: ["{BLADE3}"], config: own.bu}}\n'
RRQ = b"\0\1pxelinux.0\0octet\0"
ACK = b"\0\4\0\1"
AS_PXE = ("-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000")
MINUTES = 10
"""Longer than a step may take before the watch of the lab says that it stands still."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    folder = tmp_path_factory.mktemp("signs")
    (folder / "own.bu").write_text("variant: flatcar\nversion: 1.0.0\nstorage: 3\n")
    with Net(folder, MISTAKEN) as net:
        net.start()
        yield net


@pytest.fixture(scope="module")
def blade1(net: Net) -> str:
    return net.plug("b1", BLADE1)


@pytest.fixture(scope="module")
def blade2(net: Net) -> str:
    return net.plug("b2", BLADE2)


def switch_on(net: Net, blade: str) -> str:
    """A boot of ours, which begins when the button is pressed; its identity."""
    return str(rpc.call(net.state.bootd, "power_on", blade=blade)["boot"])


def told(net: Net, blade: str, boot: str) -> list[events.Event]:
    """What the boot server wrote, and before it what a slot tells when its button is pressed."""
    stream = list(events.read(net.state.events, after=-1))
    [began] = [one for one in stream if isinstance(one, BootStarted) and one.boot == boot]
    at = stream.index(began)
    return [*stream[:at], events.Power(blade=blade, state="on", boot=boot, time=began.time), *stream[at:]]


def last_boot(net: Net, blade: str) -> str:
    return str(net.told(BootStarted, blade=blade)[-1].boot)


def wait_for(net: Net, blade: str, stream: list[events.Event]) -> None:
    """Wait as a notebook does, on what was told so far, numbered as the supervisor numbers it."""
    state = State(net.folder / "waiting")
    state.path.mkdir(exist_ok=True)
    lines = [events.encode(replace(event, seq=number)) for number, event in enumerate(stream, 1)]
    state.events.write_text("".join(f"{line}\n" for line in lines))
    lab = lab_yaml.load(net.folder / "lab.yaml")
    wait_blades(RunningLab(lab, state), [lab.blade(blade)], until="os", since=0)


def wait_told(net: Net, kind: type[events.Event], **fields: object) -> None:
    wait_until(lambda: net.told(kind, **fields))


def dnsmasq(net: Net, space: str) -> Callable[[], object]:
    """Another DHCP server on the blades' network; what ends it."""
    lease_file = net.folder / "other.leases"
    server = net.background(
        space, "dnsmasq", "--keep-in-foreground", "--conf-file=", "--no-ping", "--port=0", "--interface=eth0",
        "--user=root", f"--dhcp-leasefile={lease_file}", "--pid-file=", "--dhcp-range=10.77.0.200,10.77.0.210",
    )  # fmt: skip
    return server.terminate


def test_a_blade_is_silent(net: Net) -> None:
    boot = switch_on(net, "blade1")
    shows("no-carrier", told(net, "blade1", boot), "blade1")


def test_its_card_is_another(net: Net) -> None:
    boot = switch_on(net, "blade1")
    stranger = net.plug("x1", STRANGER)
    with pytest.raises(AssertionError, match="no lease"):
        net.lease(stranger, "-t", "1")
    wait_told(net, UnknownMachine, mac=STRANGER)
    shows("wrong-mac", told(net, "blade1", boot), "blade1")


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
def test_another_server_answers(net: Net, blade1: str) -> None:
    space = net.plug("d1", "00:00:5e:00:53:02")
    net.inside(space, "ip", "address", "add", "10.77.0.2/24", "dev", "eth0")
    end = dnsmasq(net, space)
    boot = switch_on(net, "blade1")
    with net.socket(blade1) as sock:
        firmware = Firmware(sock, BLADE1, PXE_BIOS)
        offers = wait_until(lambda: found if "10.77.0.2" in (found := firmware.discover(1, 2)) else {})
        firmware.take(offers["10.77.0.2"])
    end()
    wait_told(net, Dhcp, boot=boot, reply="", message="REQUEST")
    shows("other-dhcp", told(net, "blade1", boot), "blade1")


def test_there_is_no_loader_for_it(net: Net, blade1: str) -> None:
    assert "boot_file" not in net.lease(blade1, "-V", "HTTPClient:Arch:00016:UNDI:003001", "-x", "0x5d:0010")
    boot = last_boot(net, "blade1")
    shows("no-loader", told(net, "blade1", boot), "blade1")


def test_its_address_is_taken(net: Net, blade2: str) -> None:
    """udhcpc asks by ARP who has the address it is given, and a machine that nobody manages has it."""
    squatter = net.plug("q1", "00:00:5e:00:53:03")
    net.inside(squatter, "ip", "address", "add", "10.77.0.12/24", "dev", "eth0")
    boot = switch_on(net, "blade2")
    net.background(blade2, "busybox", "udhcpc", "-f", "-a", "-i", "eth0", "-s", "/bin/true", *AS_PXE)
    wait_told(net, Trouble, blade="blade2", boot=boot)
    net.inside(squatter, "ip", "address", "del", "10.77.0.12/24", "dev", "eth0")
    shows("address-taken", told(net, "blade2", boot), "blade2")


def test_nothing_it_asks_for_arrives(net: Net, blade1: str) -> None:
    net.pxe(blade1)
    net.inside(blade1, "ip", "route", "add", "blackhole", "10.77.0.1/32")
    with net.socket(blade1) as sock, pytest.raises(OSError, match="Invalid argument"):
        sock.sendto(RRQ, ("10.77.0.1", 69))
    net.inside(blade1, "ip", "route", "del", "blackhole", "10.77.0.1/32")
    shows("file-blocked", told(net, "blade1", last_boot(net, "blade1")), "blade1")


def test_the_file_is_not_there(net: Net, blade1: str) -> None:
    net.pxe(blade1)
    with pytest.raises(AssertionError, match="tftp"):
        net.inside(blade1, "busybox", "tftp", "-g", "-r", "nothing.0", "-l", "/dev/null", "10.77.0.1")
    boot = last_boot(net, "blade1")
    wait_told(net, Transfer, boot=boot, state="missing")
    shows("file-missing", told(net, "blade1", boot), "blade1")


def test_a_transfer_breaks_off(net: Net, blade1: str) -> None:
    """It has acknowledged a block and is reset: its port is closed."""
    net.pxe(blade1)
    with net.socket(blade1) as sock:
        sock.settimeout(5)
        sock.sendto(RRQ, ("10.77.0.1", 69))
        _, server = sock.recvfrom(2000)
        sock.sendto(ACK, server)
        sock.recvfrom(2000)
    boot = last_boot(net, "blade1")
    wait_told(net, Transfer, boot=boot, state="failed")
    shows("transfer-broke", told(net, "blade1", boot), "blade1")


def test_its_config_has_a_mistake(net: Net) -> None:
    boot = switch_on(net, "blade3")
    wait_told(net, Trouble, blade="blade3", part="plan")
    shows("plan-failed", told(net, "blade3", boot), "blade3")
    with causes("nothing-to-boot"):
        wait_for(net, "blade3", told(net, "blade3", boot))


def boot_to_the_system(net: Net, blade: str) -> str:
    """PXE, kernel and archives, and the system asks for an address; the boot."""
    net.pxe(blade)
    for path in ("labos/vmlinuz", "labos/labos.cpio", "labos/oem.cpio.gz"):
        assert net.curl(blade, f"/{path}", "-o", "/dev/null")[0] == 200
    net.lease(blade)
    return last_boot(net, "blade1")


def test_its_system_does_not_come_up(net: Net, blade1: str) -> None:
    """The lab's own watch says that it stands still, told of what has happened some minutes later."""
    boot = boot_to_the_system(net, blade1)
    stream = told(net, "blade1", boot)
    watch = Watch(lab_yaml.load(net.folder / "lab.yaml"), stream)
    stuck = [one for one in watch.due(time.time() + MINUTES * 60) if one.boot == boot]
    assert fold_all(stream).blade("blade1").step in ("ignition", "os") and len(stuck) == 1
    shows("ignition-failed", [*stream, *stuck], "blade1")


def test_it_waits_for_a_swarm_and_shows_a_bad_ticket(net: Net, blade1: str) -> None:
    boot = boot_to_the_system(net, blade1)
    own = ticket(net.state.key("tickets"), "blade1", boot).reveal()
    assert net.curl(blade1, "/v1/stage", "-H", f"X-Labkit-Ticket: {own}", "-d", "stage=os")[0] == 200
    wait_told(net, Phoned, boot=boot)
    shows("waits-for-swarm", told(net, "blade1", boot), "blade1")
    assert net.curl(blade1, "/v1/join", "-X", "POST", "-H", "X-Labkit-Ticket: 00")[0] == 403
    wait_told(net, Ticket, boot=boot, state="refused")
    shows("ticket-refused", told(net, "blade1", boot), "blade1")


def test_it_boots_again_and_again(net: Net, blade1: str) -> None:
    """Its kernel gives up each time, and its firmware begins anew: at the third boot in a row that is told."""
    first = switch_on(net, "blade1")
    boots = [boot_to_the_system(net, blade1) for _ in range(2)]
    assert boots[0] == first != boots[1]
    assert hints.match_events(fold_all(told(net, "blade1", first)), ["blade1"]) == []
    net.pxe(blade1)
    with causes("boot-loop") as error:
        wait_for(net, "blade1", told(net, "blade1", first))
    assert error.value.what.startswith(
        "not os, and will not be: blade1 boots again and again: boot 1 came to step 'os'"
    )
    assert "now boot 3 has begun" in error.value.what and "./lab why blade1" in error.value.fix
    shows("boot-loop", told(net, "blade1", first), "blade1")


def test_a_boot_that_goes_on_shows_nothing(net: Net, blade1: str) -> None:
    """Not even that a file was missing, once the blade has found another way."""
    switch_on(net, "blade1")
    net.pxe(blade1)
    with pytest.raises(AssertionError, match="tftp"):
        net.inside(blade1, "busybox", "tftp", "-g", "-r", "nothing.0", "-l", "/dev/null", "10.77.0.1")
    boot = boot_to_the_system(net, blade1)
    assert net.told(Transfer, boot=boot, state="missing")
    assert hints.match_events(fold_all(told(net, "blade1", boot)), ["blade1"]) == []
