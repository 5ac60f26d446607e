"""What the doctor reads of this machine and of frames: who holds a port, what was answered, the memory to be had."""

from __future__ import annotations

from labkit.diagnosis.doctor import probe
from labkit.diagnosis.doctor.dhcp_servers import frame, payload
from labkit.diagnosis.doctor.facts import Holder
from labkit.machines.host import memory


def test_ss_names_who_holds_a_port() -> None:
    text = (
        'udp   UNCONN 0 0      0.0.0.0%eth1:67 0.0.0.0:* users:(("dnsmasq",pid=812,fd=4))\n'
        "tcp   LISTEN 0 511             [::]:80    [::]:*\n"
    )
    assert probe.holders(text) == (
        Holder("udp", 67, "0.0.0.0%eth1", "dnsmasq", 812), Holder("tcp", 80, "[::]"),
    )  # fmt: skip


def test_a_frame_there_and_back() -> None:
    data = frame(bytes(6), b"x" * 300)
    assert data[:6] == b"\xff" * 6 and len(data) == 14 + 28 + 300
    assert payload(data) is None, "it goes to the server's port"
    answered = bytearray(data)
    answered[34:38] = bytes((0, 67, 0, 68))
    assert payload(bytes(answered)) == b"x" * 300
    assert [payload(bytes(answered)[:length]) for length in (0, 13, 41)] == [None] * 3
    answered[23] = 6
    assert payload(bytes(answered)) is None


def test_the_memory_that_can_be_had() -> None:
    assert memory.available_mib("MemTotal:  100 kB\nMemAvailable:   2097152 kB\n") == 2048
    assert memory.available_mib() > 0
