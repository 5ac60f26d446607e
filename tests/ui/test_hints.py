"""Every known failure, caused: by labkit's own code where an error is matched, by events where those are."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import functools
import gc
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from labkit import authoring, client, events, hints, labfile, nginx, parts, up
from labkit.chassis import network, power
from labkit.chassis.virtual import VirtualChassis
from labkit.errors import LabkitError, SwarmError
from labkit.images import ensure, store, tools
from labkit.lab import Lab
from labkit.netboot import ports
from labkit.plan import BaseConfig, BootSecrets, plan
from labkit.secret import Secret
from labkit.stages import LabState, fold_all
from labkit.state import State
from labkit.swarm import cluster, registry, service
from labkit.swarm import engine as swarm_engine
from labkit.ui.choosers import choose_blades

ROOT = Path(__file__).resolve().parents[2]
LAB = labfile.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))
BLADE = LAB.blade("blade1")
REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_file: bmc.password}
blades: [{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.40.201}}]
"""
COREOS = labfile.parse("blades: [{name: blade1, os: container-linux}]\n", Path("lab.yaml"))
PASSWORD = Secret("password")


class Patch:
    """What a case needs of pytest: a folder and patches that are taken back."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch

    def lab_file(self, text: str = "blades: [{name: blade1}]\n") -> Path:
        path = self.folder / "lab.yaml"
        path.write_text(text)
        return path

    def running(self, stream: list[events.Event], lab: Lab = LAB) -> client.RunningLab:
        state = State(self.folder)
        state.events.write_text(
            "".join(events.encode(dataclasses.replace(e, seq=n + 1)) + "\n" for n, e in enumerate(stream))
        )
        return client.RunningLab(lab, state)


Case = Callable[[Patch], object]
"""Causes the failure. What it returns is not looked at."""
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(cause: Case) -> Case:
        CASES[name] = cause
        return cause

    return keep


# --- services: a swarm whose one task has gone wrong, asked by `service.watch` ---------------------------------------


def stuck_service(error: str, state: str = "rejected", container: dict[str, Any] | None = None) -> object:
    container = container or {"Image": "10.77.0.1:5000/nginx:labkit"}
    spec = {"Name": "web", "Mode": {"Replicated": {"Replicas": 1}}, "TaskTemplate": {"ContainerSpec": container}}
    task = {
        "ID": "t1", "ServiceID": "s1", "Slot": 1, "NodeID": "n1", "CreatedAt": "2026-01-01T00:00:00Z",
        "DesiredState": "running" if state == "pending" else "shutdown", "Spec": {"ContainerSpec": container},
        "Status": {"State": state, "Err": error, "Message": ""},
    }  # fmt: skip
    waiting = {**task, "ID": "t2", "DesiredState": "running", "Status": {"State": "pending", "Message": ""}}
    api = SimpleNamespace(
        services=lambda **_: [{"ID": "s1", "Spec": spec}], inspect_service=lambda *_, **__: {"ID": "s1", "Spec": spec},
        tasks=lambda *_: [task, waiting] if state != "pending" else [task], nodes=lambda **_: [],
    )  # fmt: skip
    return service.watch(SimpleNamespace(api=api), "web", 0.0)  # type: ignore[arg-type]


SERVICE = {
    "image-missing": ("No such image: 10.77.0.1:5000/nginx:labkit", "rejected"),
    "service-port-taken": ("host-mode port already in use on 2 nodes", "pending"),
    "node-port-taken": ("Bind for 0.0.0.0:80 failed: port is already allocated", "failed"),
    "no-suitable-node": ("no suitable node (scheduling constraints not satisfied on 3 nodes)", "pending"),
    "unhealthy": ("task: non-zero exit (1): unhealthy container", "failed"),
    "out-of-memory": ("task: non-zero exit (137)", "failed"),
    "replica-ended": ("task: non-zero exit (3)", "failed"),
}  # fmt: skip
for _name, (_error, _state) in SERVICE.items():
    CASES[_name] = functools.partial(lambda error, state, patch: stuck_service(error, state), _error, _state)


@case("mesh-silent")
def _(patch: Patch) -> object:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        blade = dataclasses.replace(BLADE, address=IPv4Address("127.0.0.1"))
        lab = dataclasses.replace(LAB, blades=(blade,))
        stream = [
            events.Power(blade="blade1", state="on", time=1),
            events.Phoned(blade="blade1", stage="joined", time=2),
        ]
        return nginx.ask_blades(patch.running(stream, lab), taken.getsockname()[1], settle_s=0)


def refuse(words: str) -> Callable[..., object]:
    def call(*_: object, **__: object) -> object:
        raise docker.errors.APIError("500", explanation=words)

    return call


@case("registry-unreachable")
def _(patch: Patch) -> object:
    (patch.folder / "root.tar").write_bytes(b"tar")
    api = SimpleNamespace(inspect_distribution=refuse("dial tcp 10.77.0.1:5000: connect: connection refused"))
    fake: Any = SimpleNamespace(api=api)
    return registry.ensure_image(fake, patch.folder / "root.tar", reference="10.77.0.1:5000/nginx:labkit", changes=())


# --- the swarm --------------------------------------------------------------------------------------------------------


def said_by_engine(words: str) -> object:
    fake: Any = SimpleNamespace(api=SimpleNamespace(nodes=refuse(words)))
    return cluster.nodes(fake)


CASES["quorum-lost"] = lambda patch: said_by_engine(
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are "
    "online. Make sure more than half of the managers are online."
)
CASES["token-expired"] = lambda patch: said_by_engine(
    "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
)


def engine_with(**swarm: object) -> Any:
    return SimpleNamespace(info=lambda: {"Swarm": swarm}, api=SimpleNamespace(nodes=list))


CASES["swarm-locked"] = lambda patch: cluster.ensure_swarm(engine_with(LocalNodeState="locked"), advertise="10.0.0.1")
CASES["other-swarm"] = lambda patch: cluster.ensure_swarm(
    engine_with(LocalNodeState="active", ControlAvailable=False), advertise="10.0.0.1"
)
CASES["no-swarm"] = lambda patch: cluster.join_body(
    engine_with(LocalNodeState="inactive", ControlAvailable=False), role=BLADE.role, address="10.0.0.2"
)
CASES["node-not-ready"] = lambda patch: cluster.wait_nodes(engine_with(), ["blade1"], 0.0)
CASES["engine-down"] = lambda patch: swarm_engine.connect(patch.folder / "docker.sock")


@case("engine-silent")
def _(patch: Patch) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(patch.folder / "d.sock"))  # bound and not listening
        return swarm_engine.connect(patch.folder / "d.sock")


@case("engine-forbidden")
def _(patch: Patch) -> object:
    patch.patch.setattr(Path, "stat", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "denied")))
    return swarm_engine.connect(Path("/run/docker.sock"))


# --- power ------------------------------------------------------------------------------------------------------------


@case("bmc-password")
def _(patch: Patch) -> object:
    answer = json.dumps({"error": "password", "what": "Incorrect password provided"})  # as pyghmi says it
    patch.patch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer, stderr=""))
    return power.power_state("blade1", BLADE.bmc, PASSWORD)


@case("bmc-unreachable")
def _(patch: Patch) -> object:
    patch.patch.setattr(power, "CALL_S", 0.2)
    return power.power_state("blade1", dataclasses.replace(BLADE.bmc, address="127.0.0.1", port=1), PASSWORD)


@case("bmc-no-password")
def _(patch: Patch) -> object:
    lab = labfile.load(patch.lab_file(REAL))
    return client.bmc_password(lab, State(patch.folder), lab.blades[0])


@case("slot-empty")
def _(patch: Patch) -> object:
    async def nothing(blade: object) -> None: ...

    chassis = VirtualChassis(LAB, State(patch.folder), "tcg", lambda event: None, nothing)
    return asyncio.run(chassis.press(9, "power", 1))


@case("power-stuck")
def _(patch: Patch) -> object:
    patch.patch.setattr(power, "power_state", lambda *_: "on")
    return power.wait_power("blade1", BLADE.bmc, PASSWORD, "off", timeout_s=0, pause=lambda s: None)


def late(patch: Patch, *stream: events.Event) -> None:
    patch.patch.setattr(up, "status", lambda state: {"up": True})
    began = [
        events.BootStarted(blade="blade1", boot="b", cause="power", time=1),
        events.Power(blade="blade1", state="on", time=1),
    ]
    client.wait_blades(patch.running([*began, *stream]), [BLADE], timeout_s=0)


CASES["blade-silent"] = late
CASES["boot-late"] = lambda patch: late(
    patch, events.Dhcp(blade="blade1", boot="b", mac=BLADE.macs[0], message="DISCOVER", reply="OFFER", time=2)
)


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
        raise OSError(errno.ENOSPC, "No space left on device")


@case("no-internet")
def _(patch: Patch) -> object:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return tools.run_tool(["sh", "-c", "echo 'Could not resolve host deb'; exit 1"])


CASES["config-mistake"] = lambda patch: authoring.transpile(
    b"variant: flatcar\nversion: 1.0.0\nstorage: 3\n", Path("own.bu")
)
CASES["config-version"] = lambda patch: plan(
    LAB, BLADE, "b", BootSecrets(PASSWORD), BaseConfig("own.ign", {"ignition": {"version": "3.9.0"}})
)
CASES["config-clash"] = lambda patch: plan(
    LAB, BLADE, "b", BootSecrets(PASSWORD),
    BaseConfig("own.ign", {"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/etc/hostname"}]}}),
)  # fmt: skip
CASES["config-missing"] = lambda patch: authoring.base_config(dataclasses.replace(BLADE, config=Path("/none/own.bu")))


# --- this machine -----------------------------------------------------------------------------------------------------


def bind(number: int) -> object:
    raise ports._bind_error(OSError(number, ""), "dhcp", socket.SOCK_DGRAM, "0.0.0.0", 67, "eth1")


CASES["port-taken"] = lambda patch: bind(errno.EADDRINUSE)
CASES["no-such-card"] = lambda patch: bind(errno.ENODEV)


@case("no-root")
def _(patch: Patch) -> object:
    patch.patch.setattr(os, "geteuid", lambda: 1000)
    return up.up(LAB, State(patch.folder), print)


CASES["needs-yes"] = lambda patch: client.ensure_lab(patch.lab_file(REAL), state_path=patch.folder)


@case("subnet-taken")
def _(patch: Patch) -> object:
    routes = json.dumps([{"dst": "10.77.0.0/24", "dev": "eth0"}])
    patch.patch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=routes, returncode=0))
    network.check_subnet(LAB.network.subnet, "lab123456")
    return None


@case("not-installed")
def _(patch: Patch) -> object:
    patch.patch.setenv("PATH", str(patch.folder))
    up.check_programs(LAB)
    return None


CASES["path-too-long"] = lambda patch: State(patch.folder / ("x" * 100)).make()
CASES["no-namespaces"] = lambda patch: network.run_ip("link add no-such-link type no-such-type")


@case("part-failed")
def _(patch: Patch) -> object:
    async def never() -> bool:
        return False

    spec = parts.PartSpec(name="bootd", command=["sh", "-c", "echo no; exit 1"], log=patch.folder / "log", ready=never)
    return asyncio.run(parts.Part(spec, lambda event: None).start())


# --- the lab, its file, its parameters, the notebook ------------------------------------------------------------------


@case("no-lab-file")
def _(patch: Patch) -> object:
    patch.patch.chdir(patch.folder)
    patch.patch.delenv("LABKIT_LAB", raising=False)
    return client.find_lab()


@case("other-lab")
def _(patch: Patch) -> object:
    patch.patch.setattr(up, "status", lambda state: {"lab": "/elsewhere/lab.yaml"})
    return up.up(LAB, State(patch.folder), print)


CASES["lab-down"] = lambda patch: client.connect(patch.lab_file(), patch.folder)
CASES["lab-file"] = lambda patch: labfile.load(patch.lab_file("blade: []\n"))
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


@pytest.fixture
def patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patch]:
    yield Patch(tmp_path, monkeypatch)
    gc.collect()


# The Docker SDK leaves a socket that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_error_is_known(name: str, patch: Patch) -> None:
    caught: BaseException | None = None
    try:
        CASES[name](patch)
    except Exception as error:
        caught = error
    patch.patch.undo()
    assert caught is not None, "the case caused nothing"
    hint = hints.match_error(caught)
    assert hint is not None and hint.name == name, f"{caught!r} → {hint}"


def test_every_rule_has_its_case() -> None:
    assert {rule.hint.name for rule in hints.RULES} == set(CASES)
    assert len(CASES) >= 25


# --- what the events show ---------------------------------------------------------------------------------------------

BOOT = [
    events.LabEvent(state="starting", time=1),
    events.BootStarted(blade="blade1", boot="b", cause="power", time=10),
    events.Power(blade="blade1", state="on", time=10),
]
MAC = BLADE.macs[0]


def dhcp(reply: str = "ACK", **fields: Any) -> events.Dhcp:
    return events.Dhcp(
        blade="blade1", boot="b", time=12, mac=MAC, message="REQUEST", reply=reply, client="pxe", **fields
    )


def transfer(path: str, state: str, **fields: Any) -> events.Transfer:
    return events.Transfer(blade="blade1", boot="b", time=13, protocol="tftp", path=path, state=state, **fields)


UP = [
    dhcp(file="lpxelinux.0"),
    transfer("labos/vmlinuz", "done", sent_b=9),
    transfer("labos/labos.cpio", "done", sent_b=9),
]
OS = events.Phoned(blade="blade1", boot="b", time=40, stage="os", uptime_s=20, init_s=1, ignition_s=4)
OS_ASKS = events.Dhcp(blade="blade1", boot="b", time=20, mac=MAC, message="DISCOVER", reply="OFFER", client="os")
NBP = dhcp(file="lpxelinux.0")


def trouble(part: str, detail: str) -> events.Trouble:
    return events.Trouble(blade="blade1", boot="b", part=part, detail=detail)


SEEN: dict[str, list[events.Event]] = {
    "no-carrier": [],
    "wrong-mac": [events.UnknownMachine(time=12, mac="52:54:00:00:00:99", adopt="- {name: x}")],
    "other-dhcp": [dhcp("", reason="chose the server 192.168.1.1")],
    "no-loader": [dhcp(reason="boot method pxelinux has no loader for http clients with x64 firmware")],
    "address-taken": [dhcp(), trouble("dhcp", "blade1 declined 10.77.0.11: another machine on this network uses it")],
    "file-blocked": [NBP],
    "file-missing": [NBP, transfer("lpxelinux.0", "missing", reason="no such file")],
    "transfer-broke": [
        NBP, transfer("lpxelinux.0", "started"), transfer("lpxelinux.0", "failed", reason="no answer for 10 s"),
    ],
    "plan-failed": [trouble("plan", "own.bu: the config does not transpile"), dhcp()],
    "ignition-failed": [
        *UP, OS_ASKS, events.Stuck(blade="blade1", boot="b", step="ignition", what="…", seconds=90, time=110),
    ],
    "ticket-refused": [*UP, OS, events.Ticket(blade="blade1", boot="b", time=41, state="refused", reason="no ticket")],
    "waits-for-swarm": [*UP, OS],
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_events_show_what_is_wrong(name: str) -> None:
    found = hints.match_events(fold_all([*BOOT, *SEEN[name]]), ["blade1", "blade2"])
    assert [(blade, hint.name) for blade, hint in found] == [("blade1", name)]


def test_every_sign_in_events_has_its_case() -> None:
    assert set(hints._SEEN) == set(SEEN)


def test_a_boot_that_goes_well_shows_nothing() -> None:
    joined = dataclasses.replace(OS, stage="joined", time=60)
    assert hints.match_events(fold_all([*BOOT, *UP, OS, events.Swarm(action="init", time=5), joined]), ["blade1"]) == []
    assert hints.match_events(LabState(), ["blade1"]) == []


# --- the table itself -------------------------------------------------------------------------------------------------


def test_every_hint_leads_to_a_heading_that_is_there() -> None:
    book = json.loads((ROOT / "notebooks" / "99-help.ipynb").read_text())
    text = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    headings = {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")}
    every = [rule.hint for rule in hints.RULES] + list(hints._SEEN.values())
    assert {hint.section for hint in every} <= set(hints.SECTIONS) <= headings
    assert all(hint.why and hint.link.startswith("99-help.ipynb#") for hint in every)


def test_the_cause_of_an_error_is_known_too() -> None:
    try:
        try:
            client.choose_blades(LAB, ["blade9"])
        except LabkitError as error:
            raise RuntimeError("it went wrong") from error
    except RuntimeError as error:
        hint = hints.match_error(error)
    assert hint is not None and hint.name == "unknown-blade"


def test_an_error_nobody_knows_has_no_hint() -> None:
    assert hints.match_error(ValueError("what is this")) is None
    assert hints.match_error(SwarmError("something new")) is None
