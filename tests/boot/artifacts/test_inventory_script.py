"""The script that looks at a machine: on this very one, on one that is made of files, and where tools are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.boot.artifacts.text import render_text
from labkit.events.inventory import Card, Disk, Inventory, Sensor
from labkit.netboot.http.blade_inventory import read_inventory
from labkit.netboot.http.server import LARGEST_BODY_B
from tests.netboot.http.test_blade_inventory import END, bar

LAB = """\
lab() { # fails the first time
    echo "lab $*" >>"$ASKED"
    cat >>"$ASKED"
    [ -e "$ASKED.again" ] || { touch "$ASKED.again"; return $FAILS; }
}
"""
NEEDED = ("sh", "sed", "sort", "cut", "grep", "tr", "head", "readlink", "timeout")
"""All that every system of a lab has; the rest may be missing."""


def hand_in(folder: Path, *, shell: str = "sh", path: str = os.environ["PATH"], **places: str) -> str:
    """What the script says."""
    script = folder / "inventory"
    script.write_text(render_text("scripts/inventory", **places))
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([program, script], env={"PATH": path}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.encode()) <= LARGEST_BODY_B
    return done.stdout


def read(text: str) -> Inventory:
    made = read_inventory(text)
    assert made is not None, text
    return made


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_this_machine(tmp_path: Path, shell: str) -> None:
    made = read(hand_in(tmp_path, shell=shell))
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert made.memory_mib == total_kib >> 10
    assert made.threads == len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology")))
    assert 1 <= made.sockets <= made.cores <= made.threads
    assert {card.name for card in made.cards} <= set(os.listdir("/sys/class/net"))


def test_with_no_more_than_every_system_has(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    made = read(hand_in(tmp_path, path=str(tools)))
    assert made.threads and made.memory_mib and not made.bars


def put(place: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())


def test_a_machine_made_of_files(tmp_path: Path) -> None:
    system, processes, tools = tmp_path / "sys", tmp_path / "proc", tmp_path / "tools"
    tables = bar(8192, "DIMM_A1") + bar(8192, "DIMM_B1") + bar(0, "DIMM_C1") + END
    put(
        processes,
        {
            "cpuinfo": "processor\t: 0\nmodel name\t: Any CPU\n\nmodel name\t: Any CPU",
            "meminfo": "MemTotal:  16300000 kB",
        },
    )
    put(system, {f"devices/system/cpu/cpu{n}/topology/physical_package_id": f"{n // 4}" for n in range(8)})
    put(system, {f"devices/system/cpu/cpu{n}/topology/core_id": f"{n % 4 // 2}" for n in range(8)})
    put(
        system,
        {"class/dmi/id/sys_vendor": "Any Maker ", "class/dmi/id/product_uuid": "00112233-4455-6677-8899-aabbccddeeff"},
    )
    put(system, {"firmware/dmi/tables/DMI": tables})
    for name, size, removable in (
        ("sda", 1000, 0),
        ("sdb", 500, 1),
        ("loop0", 8, 0),
        ("sr0", 8, 1),
        ("nvme0n1", 2000, 0),
    ):
        own = {"size": f"{size}", "removable": f"{removable}", "queue/rotational": f"{int(name == 'sda')}"}
        put(system / "block" / name, {**own, "device/model": f"{name}  by Any", "device/serial": f"S-{name}"})
    put(system / "class/net/eno1", {"address": "00:00:5e:00:53:0a", "carrier": "1", "speed": "2500", "device/x": ""})
    put(system / "class/net/docker0", {"address": "00:00:5e:00:53:0c", "carrier": "1", "speed": "10000"})
    put(system / "class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": "41000", "temp1_label": "Package id 0"})
    said = '{"Neighbors":[{"InterfaceName":"eno1","Neighbors":[{"SystemName":"switch\\u001b1","PortID":"7"}]}]}'
    put(tools, {"networkctl": f"#!/bin/sh\ncat <<'END'\n{said}\nEND"})
    (tools / "networkctl").chmod(0o755)
    made = read(hand_in(tmp_path, path=f"{tools}:{os.environ['PATH']}", sys=str(system), proc=str(processes)))
    assert (made.vendor, made.uuid) == ("Any Maker", "00112233-4455-6677-8899-aabbccddeeff")
    assert made.cpu == "2 × Any CPU, 4 cores, 8 threads"
    assert (made.memory_mib, made.installed_mib, made.slots) == (15917, 16384, 3)
    assert [str(one.slot) for one in made.bars] == ["DIMM_A1", "DIMM_B1"]
    assert made.disks == (
        Disk("nvme0n1", 2000 * 512, "ssd", "nvme0n1 by Any", "S-nvme0n1"),
        Disk("sda", 1000 * 512, "hdd", "sda by Any", "S-sda"),
    )
    assert made.cards == (Card("eno1", "00:00:5e:00:53:0a", "", True, 2500, "switch1", "7"),)
    assert made.sensors == (Sensor("coretemp Package id 0", "41 degrees C"),)


IPMITOOL = """\
#!/bin/sh
case "$*" in
"lan print") cat <<'END' ;;
Set in Progress         : Set Complete
Auth Type Enable        : Callback : MD5
                        : User     : MD5
IP Address Source       : DHCP Address
IP Address              : 10.0.40.201
Subnet Mask             : 255.255.255.0
MAC Address             : 00:00:5e:00:53:0f
Default Gateway IP      : 10.0.40.1
END
"-c sdr list") cat <<'END' ;;
CPU Temp,45,degrees C,ok
FAN 2,0,RPM,cr
DIMM Temp,,,ns
Intrusion,0x00,,ok
END
esac
"""


def test_the_controller_is_asked_from_inside(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    put(tools, {"ipmitool": IPMITOOL})
    (tools / "ipmitool").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    system = tmp_path / "sys/devices/system/cpu/cpu0/topology"
    put(system, {"core_id": "0", "physical_package_id": "0"})
    made = read(hand_in(tmp_path, path=path, ipmi="/dev/null", sys=str(tmp_path / "sys")))
    assert (made.bmc, made.bmc_address, made.bmc_mac) == ("ipmi", "10.0.40.201", "00:00:5e:00:53:0f")
    assert made.sensors == (
        Sensor("CPU Temp", "45 degrees C"),
        Sensor("FAN 2", "0 RPM", is_well=False),
        Sensor("Intrusion", "0x00"),
    )
    made = read(hand_in(tmp_path, path=path, ipmi=str(tmp_path / "none")))
    assert made.bmc_address == ""


def test_many_of_everything_still_fit(tmp_path: Path) -> None:
    system = tmp_path / "sys"
    put(system, {"firmware/dmi/tables/DMI": os.urandom(60_000)})
    for number in range(100):
        put(
            system / f"block/sd{number}",
            {"size": "1000", "removable": "0", "device/model": "m" * 60, "device/serial": "s" * 60},
        )
    put(
        system,
        {"devices/system/cpu/cpu0/topology/core_id": "0", "devices/system/cpu/cpu0/topology/physical_package_id": "0"},
    )
    made = read(hand_in(tmp_path, sys=str(system)))
    assert len(made.disks) == 64 and made.memory_mib


@pytest.mark.parametrize(("fails", "times"), [("7", 2), ("22", 1)])
def test_it_is_tried_again_where_nobody_answered_and_not_where_it_was_refused(
    tmp_path: Path, fails: str, times: int
) -> None:
    put(tmp_path, {"lab.sh": LAB, "inventory": "#!/bin/sh\necho facts", "bin/sleep": "#!/bin/sh"})
    for name in ("inventory", "bin/sleep"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "script").write_text(render_text("scripts/hand-in", scripts=str(tmp_path)))
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked"), "FAILS": fails}
    subprocess.run(["sh", tmp_path / "script"], env=env, check=True, timeout=60)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[:2] for line in asked] == [["lab", "inventory"], ["facts"]] * times
