"""A boot server in a namespace that is asked whether it answers: well, stopped, and after its TFTP thread has died."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import events
from labkit.diagnosis import listeners
from labkit.diagnosis.listeners import ask_all
from labkit.events import Event, Part, Trouble
from labkit.events.watchdog import FAULT
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.machines.host.sandbox import Sandbox
from labkit.servers.parts.processes import Part as Kept
from labkit.servers.parts.processes import PartSpec
from tests.rig.net import LAB, Net, in_space, wait_until

pytestmark = pytest.mark.netns

TLS = "network: {tls: true}\n" + LAB
PROXY = "network: {dhcp: proxy}\n" + LAB
OURS = {"DHCP", "TFTP", "HTTP", "control"}


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Net(tmp_path) as net:
        yield net


def asked(net: Net, timeout_s: float = 5) -> dict[str, str]:
    """What the boot server's listeners answer."""
    lab = lab_yaml.load(net.folder / "lab.yaml")
    chosen = [one for one in listeners.listeners(lab, net.state) if one.part == "bootd"]
    return in_space(net.server, lambda: asyncio.run(ask_all(chosen, timeout_s=timeout_s)))["bootd"]


@pytest.mark.parametrize(("lab", "more"), [(LAB, set()), (TLS, {"HTTPS"})], ids=["plain", "tls"])
def test_every_listener_answers_and_nothing_comes_of_it(tmp_path: Path, lab: str, more: set[str]) -> None:
    with Net(tmp_path, lab) as net:
        net.start()
        before = list(events.read(net.state.events, after=-1))
        for _ in range(3):
            assert asked(net) == dict.fromkeys(OURS | more, "")
        assert list(events.read(net.state.events, after=-1)) == before
        assert not (net.state.path / "leases.json").exists()
        status, page = net.curl(net.server, "/metrics")
        assert status == 200 and "labkit_dhcp_messages_total{" not in page


def test_a_server_that_is_stopped_does_not_answer(net: Net) -> None:
    net.start()
    assert net.process is not None
    net.process.send_signal(signal.SIGSTOP)
    try:
        assert asked(net, 0.5) == dict.fromkeys(OURS, "nothing within 0.5 s")
    finally:
        net.process.send_signal(signal.SIGCONT)
    assert asked(net) == dict.fromkeys(OURS, "")


def test_a_server_whose_tftp_thread_dies_is_started_anew_with_its_reason(net: Net) -> None:
    told: list[Event] = []
    serve = Path(__file__).parents[1] / "rig/serve.py"
    spec = PartSpec(
        "bootd",
        Sandbox(
            (sys.executable, str(serve), str(net.folder / "lab.yaml"), str(net.state.path), str(net.images)),
            everything=True, net_of=f"/run/netns/{net.server}",
        ),
        net.folder / "bootd.log",
        ready=lambda: rpc.answers(net.state.bootd),
    )  # fmt: skip

    def parts() -> list[Part]:
        return [event for event in told if isinstance(event, Part)]

    async def keep() -> None:
        part = Kept(spec, told.append)
        await part.start()
        try:
            assert part.process is not None
            part.process.send_signal(signal.SIGUSR1)
            with net.socket(net.server) as sock:
                async with asyncio.timeout(20):
                    while len(parts()) < 3:  # a packet wakes the thread, which finds that it cannot wait any more
                        sock.sendto(b"\0\4\0\1", ("10.77.0.1", 69))
                        await asyncio.sleep(0.02)
        finally:
            states = await asyncio.to_thread(asked, net)
            await part.stop()
        assert states == dict.fromkeys(OURS, "")

    asyncio.run(keep())
    assert [event.state for event in parts()] == ["started", "died", "started"]
    assert parts()[1].detail.startswith(f"status {FAULT}: ") and "closed epoll" in parts()[1].detail
    [trouble] = net.told(Trouble, part="bootd")
    assert trouble.detail.startswith(
        "the thread tftp died: ValueError: I/O operation on closed epoll object (server.py"
    )


def test_no_packet_restarts_it(net: Net) -> None:
    """Packets that are wrong in every way, from outside and from the server's own address: the same process lives."""
    blade = net.plug("b1", "52:54:00:4d:00:01")
    net.inside(blade, "ip", "address", "add", "10.77.0.50/24", "dev", "eth0")
    net.start()
    assert net.process is not None
    wrong = [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\xff\0octet\0",
        b"\1\1\6\0" + bytes(232),
        b"\1\1\6\0" + bytes(232) + b"c\x82Sc\x35\1\1",
    ]
    for space in (blade, net.server):
        for port in (67, 69):
            with net.socket(space) as sock:
                for packet in wrong:
                    sock.sendto(packet, ("10.77.0.1", port))
        with net.socket(space, socket.SOCK_STREAM) as sock:
            sock.connect(("10.77.0.1", 80))
            sock.sendall(b"\xff\0 / HTTP/9.9\r\n\r\n")
            sock.recv(100)
    wait_until(lambda: net.told(Trouble, part="dhcp"))
    assert asked(net) == dict.fromkeys(OURS, "")
    assert net.process.poll() is None
    assert all("from 10.77.0." in event.detail for event in net.told(Trouble, part="dhcp"))
