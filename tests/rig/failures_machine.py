"""Power, images, this machine, the lab file and the notebook, gone wrong; with blades: tests/lab."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labkit import events
from labkit.boot import BaseConfig, BootSecrets, plan
from labkit.images import ensure, store
from labkit.images.build import tools
from labkit.lab import Bmc, NetworkKind, PowerKind, lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.host import programs
from labkit.machines.host.sandbox import Sandbox, User
from labkit.machines.virtual import bmc, network
from labkit.machines.virtual.chassis import VirtualChassis
from labkit.netboot import configs, ports
from labkit.servers import client, lifecycle
from labkit.servers.parts import processes
from labkit.ui.choosers import choose_blades

from .failures import BLADE, CASES, LAB, PASSWORD, REAL, Patch, as_nobody, case, need_root

COREOS = lab_yaml.parse("blades: [{name: blade1, os: container-linux}]\n", Path("lab.yaml"))


# --- power ------------------------------------------------------------------------------------------------------------


@contextmanager
def simulated_bmc(folder: Path, emulation: str = "") -> Iterator[Bmc]:
    """A BMC on the loopback that knows `PASSWORD`, as a virtual slot has it. Its blade is not there.

    ``emulation`` are commands of its own for the simulator (ipmi_sim_cmd(5)).
    """
    if shutil.which(bmc.BINARY) is None:
        pytest.skip(f"not installed: {bmc.BINARY}; ./lab setup installs it")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        own = Bmc("127.0.0.1", free.getsockname()[1], "labkit")
    blade = dataclasses.replace(BLADE, bmc=own)
    line = bmc.write_config(folder / "bmc", blade, password=PASSWORD, control=folder / "none", serial_port=1)
    with (folder / "bmc/sim.emu").open("a") as file:
        file.write(emulation)
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sim:
        try:
            while f":{own.port:04X} " not in Path("/proc/thread-self/net/udp").read_text():
                assert sim.poll() is None, "the simulated BMC ended"
                time.sleep(0.02)
            yield own
        finally:
            sim.kill()


@case("bmc-password")
def _(patch: Patch) -> object:
    with simulated_bmc(patch.folder) as own:
        return power.power_state("blade1", own, Secret("another password"))


@case("bmc-unreachable")
def _(patch: Patch) -> object:
    patch.patch.setattr(power, "CALL_S", 1.0)  # pyghmi itself takes six seconds to give up
    return power.power_state("blade1", dataclasses.replace(BLADE.bmc, address="127.0.0.1", port=1), PASSWORD)


@case("bmc-no-password")
def _(patch: Patch) -> object:
    lab = lab_yaml.load(patch.lab_file(REAL))
    return client.bmc_password(lab, State(patch.folder), lab.blades[0])


CASES["no-controller"] = lambda patch: power.sensors("red1", Bmc("", kind=PowerKind.MANUAL), PASSWORD)


@case("slot-empty")
def _(patch: Patch) -> object:
    async def nothing(blade: object) -> None: ...

    patch.patch.setenv("LABKIT_DATA", str(patch.folder / "data"))
    chassis = VirtualChassis(
        LAB, State(patch.folder), User(os.getuid(), os.getgid()), "tcg", lambda event: None, nothing
    )
    return asyncio.run(chassis.press(9, "power", 1))


# --- images and configs -----------------------------------------------------------------------------------------------


@case("image-checksum")
def _(patch: Patch) -> object:
    (patch.folder / "vmlinuz").write_bytes(b"a kernel that was changed")
    files = {"vmlinuz": {"size": 25, "sha256": "0" * 64}}
    (patch.folder / store.MANIFEST).write_text(json.dumps({"files": files}))
    store.verify(patch.folder)
    return None


CASES["image-not-built"] = lambda patch: store.read_manifest(patch.folder)


@case("container-linux-gone")
def _(patch: Patch) -> object:
    patch.patch.setenv("LABKIT_CACHE", str(patch.folder))
    return ensure._container_linux(COREOS)


@case("disk-full")
def _(patch: Patch) -> object:
    with tools.full_disk_named(patch.folder, 100):
        return Path("/dev/full").write_bytes(b"an image")


@case("no-internet")
def _(patch: Patch) -> object:
    need_root()
    (patch.folder / "lists" / "partial").mkdir(parents=True)
    sources = patch.folder / "sources.list"
    sources.write_text("deb [trusted=yes] http://127.0.0.1:1/debian stable main\n")  # where nobody listens
    places = {
        "Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "-", "Dir::State::Lists": patch.folder / "lists",
        "Dir::Cache": patch.folder, "Acquire::Retries": "0", "APT::Update::Error-Mode": "any", "APT::Sandbox::User": "",
        "Acquire::http::Proxy": "DIRECT",
    }  # fmt: skip
    return tools.run_tool(["apt-get", *(f"-o{name}={value}" for name, value in places.items()), "update"])


CASES["config-mistake"] = lambda patch: configs.transpile(
    b"variant: flatcar\nversion: 1.0.0\nstorage: 3\n", Path("own.bu")
)
CASES["config-version"] = lambda patch: plan(
    LAB, BLADE, "b", BootSecrets(PASSWORD), BaseConfig("own.ign", {"ignition": {"version": "3.9.0"}})
)
CASES["config-clash"] = lambda patch: plan(
    LAB, BLADE, "b", BootSecrets(PASSWORD),
    BaseConfig("own.ign", {"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/etc/hostname"}]}}),
)  # fmt: skip


@case("config-values")
def _(patch: Patch) -> object:
    (patch.folder / "own.bu").write_text("# {{ blade.rack }}\n")
    return configs.base_config(LAB, dataclasses.replace(BLADE, config=(patch.folder / "own.bu",)))


@case("config-merge")
def _(patch: Patch) -> object:
    old, new = patch.folder / "old.clc", patch.folder / "new.bu"
    old.write_text("storage: {files: [{filesystem: data, path: /a, contents: {inline: a}}]}\n")
    new.write_text("variant: flatcar\nversion: 1.0.0\n")
    return configs.base_config(LAB, dataclasses.replace(BLADE, config=(old, new)))


CASES["config-missing"] = lambda patch: configs.base_config(
    LAB, dataclasses.replace(BLADE, config=(Path("/none/own.bu"),))
)


# --- this machine -----------------------------------------------------------------------------------------------------


def open_on(card: str, http_port: int = 80) -> object:
    """Open the boot server's ports on a card of this machine."""
    need_root()
    loopback = IPv4Address("127.0.0.1")
    there = dataclasses.replace(
        LAB.network, kind=NetworkKind.INTERFACE, interface=card, server=loopback, http_port=http_port
    )
    return ports.open_sockets(dataclasses.replace(LAB, network=there))


@case("port-taken")
def _(patch: Patch) -> object:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        return open_on("lo", other.getsockname()[1])


CASES["no-such-card"] = lambda patch: open_on("no-such-card")


@case("no-root")
def _(patch: Patch) -> object:
    with as_nobody():
        return lifecycle.up(LAB, State(Path("/nowhere")), print)


CASES["needs-yes"] = lambda patch: client.ensure_lab(patch.lab_file(REAL), state_path=patch.folder)


@case("subnet-taken")
def _(patch: Patch) -> object:
    network.check_subnet(IPv4Network("127.0.0.0/24"), "lab123456")  # which every machine has
    return None


@case("not-installed")
def _(patch: Patch) -> object:
    patch.patch.setenv("PATH", str(patch.folder))
    programs.check_programs(LAB)
    return None


CASES["path-too-long"] = lambda patch: State(patch.folder / ("x" * 100)).make()


@case("no-namespaces")
def _(patch: Patch) -> object:
    with as_nobody():  # who may make no network, as in most containers
        network.run_ip("link add labkit-test type dummy")
    return None


@case("part-failed")
def _(patch: Patch) -> object:
    async def never() -> bool:
        return False

    sandbox = Sandbox(("sh", "-c", "echo no; exit 1"))
    spec = processes.PartSpec(name="bootd", sandbox=sandbox, log=patch.folder / "log", ready=never)
    return asyncio.run(processes.Part(spec, lambda event: None).start())


@case("part-loops")
def _(patch: Patch) -> object:
    running = patch.running([])

    async def die(times: int) -> None:
        told: list[events.Event] = []
        enough = asyncio.Event()

        def emit(event: events.Event) -> None:
            told.append(dataclasses.replace(event, seq=len(told) + 1, time=time.time()))
            running.state.events.write_text("".join(events.encode(one) + "\n" for one in told))
            if sum(isinstance(one, events.Part) and one.state == "died" for one in told) == times:
                enough.set()

        sandbox = Sandbox(("sh", "-c", "echo $$: no; exit 1"))
        spec = processes.PartSpec(name="bootd", sandbox=sandbox, log=patch.folder / "log")
        part = processes.Part(spec, emit)
        await part.start()
        await enough.wait()
        await part.stop()

    began = time.time()
    asyncio.run(die(3))
    client.wait_blades(running, [BLADE], timeout_s=0, since=began)
    return None


# --- the lab, its file, its parameters, the notebook ------------------------------------------------------------------


@case("no-lab-file")
def _(patch: Patch) -> object:
    patch.patch.chdir(patch.folder)
    patch.patch.delenv("LABKIT_LAB", raising=False)
    return client.find_lab()


CASES["lab-down"] = lambda patch: client.connect(patch.lab_file(), patch.folder)
CASES["lab-file"] = lambda patch: lab_yaml.load(patch.lab_file("blade: []\n"))
CASES["no-blade-yet"] = lambda patch: client.choose_blades(lab_yaml.load(patch.lab_file("blades: []\n")), None)
CASES["unknown-blade"] = lambda patch: client.choose_blades(LAB, ["blade9"])
CASES["bad-parameter"] = lambda patch: client.choose_blades(LAB, 3)  # type: ignore[arg-type]


@case("nothing-chosen")
def _(patch: Patch) -> object:
    choice = choose_blades(LAB)
    for button in choice._buttons.values():
        button.value = False
    return choice.value


CASES["cell-skipped"] = lambda patch: eval("running.status()", {})


@case("check-failed")
def _(patch: Patch) -> object:
    raise AssertionError
