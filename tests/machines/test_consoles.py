"""What blades say on their consoles that the lab tells on."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.events import Trouble
from labkit.machines.virtual.consoles import PART, Consoles, heard


def stamped(*lines: str) -> bytes:
    return "".join(f"[{number + 3:5d}.123456] {line}\r\n" for number, line in enumerate(lines)).encode()


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (
            "network: NO CARD THAT THIS SYSTEM HAS A DRIVER FOR; PCI ids without driver: 1022:2000 8086:1229",
            "its system has no driver for its network card: 1022:2000 8086:1229 (PCI ids)",
        ),
        ("network: NO CARD THAT THIS SYSTEM HAS A DRIVER FOR", "its system has no driver for its network card"),
        (
            "network: no address yet; no answer to DHCP on: eth0 (igb, 1:2); no cable in: eth1 (igb, 8086:10c9);",
            "its system gets no address: no answer to DHCP on: eth0 (igb, 1:2); no cable in: eth1 (igb, 8086:10c9)",
        ),
        (
            "BOOT STOPPED: Ignition failed in its stage 'files'",
            "its system stopped the boot: Ignition failed in its stage 'files'",
        ),
    ],
)
def test_a_line_is_told(line: str, detail: str) -> None:
    trouble = heard("blade1", line)
    assert trouble is not None and trouble.fix
    assert (trouble.blade, trouble.part, trouble.detail) == ("blade1", PART, detail)


@pytest.mark.parametrize(
    "line", ["init: started", "network: enp0s2 (e1000e, 8086:10d3) has 10.77.0.11/24", "docker: ready"]
)
def test_good_news_is_not(line: str) -> None:
    assert heard("blade1", line) is None


def test_only_what_is_new_and_whole_is_read(tmp_path: Path) -> None:
    console = tmp_path / "blade1.log"
    console.write_bytes(stamped("labos: BOOT STOPPED: long ago"))
    consoles = Consoles({"blade1": console, "blade2": tmp_path / "none.log"})
    assert consoles.read() == []
    with console.open("ab") as log:
        log.write(b"iPXE 1.0\x1b[0m\r\nlabos: BOOT STOPPED: said by nobody's kernel\r\n")
        log.write(stamped("labos: init: started", "labos: BOOT STOPPED: no config")[:-2])
        log.flush()
        assert consoles.read() == [], "its line has not ended"
        log.write(b"\r\n")
        log.flush()
        (trouble,) = consoles.read()
        assert isinstance(trouble, Trouble) and trouble.detail == "its system stopped the boot: no config"
        assert consoles.read() == []


def test_a_console_that_begins_anew_is_read_from_its_start(tmp_path: Path) -> None:
    console = tmp_path / "blade1.log"
    console.write_bytes(b"x" * 500)
    consoles = Consoles({"blade1": console})
    console.write_bytes(stamped("labos: BOOT STOPPED: again"))
    assert len(consoles.read()) == 1
