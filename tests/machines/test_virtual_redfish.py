"""Virtual slots over Redfish: the process itself, asked by our driver, by sushy with a session, and by plain HTTPS."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import MachineError, PowerError
from labkit.lab import Bmc, PowerKind, certificates, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE, hand, hand_anew
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.power import redfish
from labkit.machines.power.passwords import bmc_password, reached
from labkit.machines.virtual.slots import Slots
from tests.rig.rpc_server import RpcServer

LAB = lab_yaml.parse("bmc: {kind: redfish}\nblades: [{name: blade1}, {name: blade2}]\n", Path("lab.yaml"))


@dataclass
class Chassis:
    """A supervisor of slots: which are on, and what was pressed. ``state`` is its lab's folder."""

    state: State
    on: set[int] = field(default_factory=set)
    pressed: list[tuple[int, str, int]] = field(default_factory=list)
    refuses: str = ""
    bmcs: dict[str, Bmc] = field(default_factory=dict)

    async def slot_power(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"on": request["slot"] in self.on}

    async def slot_set(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.refuses:
            raise PowerError(self.refuses, fix="look at its console")
        slot, button, value = request["slot"], request["button"], request["value"]
        self.pressed.append((slot, button, value))
        if button == "power":
            (self.on.add if value else self.on.discard)(slot)
        return {}

    def ask(self, what: str, blade: str = "blade1", password: str = "") -> Any:
        """Our own driver, in this process."""
        bmc = self.bmcs[blade]
        password = password or self.state.bmc_password.reveal()
        return redfish.answer({
            "bmc": bmc.address, "port": bmc.port, "user": bmc.user, "password": password, "state": what,
            "certificate": bmc.certificate, "system": "", "limit_s": 60.0,
        })  # fmt: skip

    def http(
        self, method: str, path: str, body: bytes | None = None, *, blade: str = "blade1", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Plain HTTPS, which trusts the lab's authority; with the right password unless ``headers`` say who asks."""
        bmc = self.bmcs[blade]
        request = urllib.request.Request(f"https://{bmc.address}:{bmc.port}{path}", body, method=method)
        login = b64encode(f"{bmc.user}:{self.state.bmc_password.reveal()}".encode()).decode()
        for name, value in (headers or {"Authorization": f"Basic {login}"}).items():
            request.add_header(name.replace("_", "-"), value)
        try:
            context = ssl.create_default_context(cafile=self.state.ca)
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None, dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), dict(error.headers)


@pytest.fixture(scope="module")
def made() -> Iterator[Chassis]:
    """The process, with both blades' slots at addresses of their own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab")))
        chassis = Chassis(State(folder / "s"))
        state = chassis.state
        state.make()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        blades = [
            replace(blade, bmc=replace(blade.bmc, address=f"127.0.0.{blade.slot}", port=port)) for blade in LAB.blades
        ]
        slots = Slots.of(replace(LAB, blades=tuple(blades)), state)
        server = RpcServer(state.slots, {"slot_power": chassis.slot_power, "slot_set": chassis.slot_set})
        stack.callback(server.close)
        control = stack.enter_context(rpc.listen(state.redfish))
        told, tells = os.pipe()
        handed = hand(slots)
        for descriptor in (told, tells, handed):
            stack.callback(os.close, descriptor)
        environment = {
            **os.environ, "LABKIT_EVENTS_FD": str(tells), VARIABLE: str(handed),
            "LABKIT_FDS": f"control={control.fileno()}",
        }  # fmt: skip
        line = [sys.executable, "-m", "labkit.machines.virtual.redfish"]
        process = subprocess.Popen(line, env=environment, pass_fds=(tells, handed, control.fileno()))
        stack.callback(process.wait, 60)
        stack.callback(process.send_signal, signal.SIGTERM)
        rpc.call(state.redfish, rpc.PING, timeout_s=60)
        for blade in blades:
            chassis.bmcs[blade.name] = replace(blade.bmc, certificate=certificates.redfish_fingerprint(state))
        yield chassis
        assert process.poll() is None
        hand_anew(handed, replace(slots, blades=tuple(blades[1:])))
        assert rpc.call(state.redfish, "reload", timeout_s=60) == {}
        assert chassis.ask("status", "blade2") == {"power": "off"}
        assert chassis.ask("status", "blade1")["error"] == "silent", "a slot that is empty does not listen"


@pytest.fixture
def chassis(made: Chassis) -> Chassis:
    made.on.clear()
    made.pressed.clear()
    made.refuses = ""
    return made


# --- the driver -------------------------------------------------------------------------------------------------------


def test_our_driver_presses_every_button(chassis: Chassis) -> None:
    assert chassis.ask("status") == {"power": "off"}
    for state in ("on", "reset", "boot", "shutdown", "off", "boot"):
        assert "error" not in chassis.ask(state), state
    assert chassis.pressed == [
        (1, "power", 1), (1, "reset", 1), (1, "reset", 1), (1, "shutdown", 1), (1, "power", 0), (1, "power", 1),
    ]  # fmt: skip
    assert chassis.ask("status") == {"power": "on"} and chassis.ask("status", "blade2") == {"power": "off"}
    assert chassis.ask("sensors") == {"power": "sensors", "found": []}, "there is nothing to measure in it"


def test_the_next_boot_is_by_pxe_once(chassis: Chassis) -> None:
    def target() -> str:
        return str(chassis.http("GET", "/redfish/v1/Systems/blade1")[1]["Boot"]["BootSourceOverrideTarget"])

    assert chassis.ask("pxe") == {"power": "pxe"} and target() == "Pxe"
    chassis.ask("on")
    assert target() == "None"


def test_a_client_in_a_process_of_its_own(chassis: Chassis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CALL_S", 60.0)
    bmc = chassis.bmcs["blade1"]
    power.set_power("blade1", bmc, chassis.state.bmc_password, "on")
    assert power.wait_power("blade1", bmc, chassis.state.bmc_password, "on", timeout_s=60) < 60
    with pytest.raises(PowerError, match="it does not take this user or this password"):
        power.power_state("blade1", bmc, Secret("another"))
    with pytest.raises(PowerError, match="not the one that lab.yaml pins"):
        power.power_state("blade1", replace(bmc, certificate="00" * 32), Secret("another"))


def test_what_a_lab_knows_of_its_slots(chassis: Chassis, tmp_path: Path) -> None:
    blade = LAB.blades[0]
    assert blade.bmc == Bmc("10.77.0.201", 443, kind=PowerKind.REDFISH) and blade.bmc.ipmi_port == 623
    assert reached(LAB, chassis.state, blade).certificate == chassis.bmcs["blade1"].certificate
    assert bmc_password(LAB, chassis.state, blade) == chassis.state.bmc_password
    with pytest.raises(MachineError, match="certificate of the virtual slots cannot be read") as caught:
        reached(LAB, State(tmp_path), blade)
    assert "./lab up" in caught.value.fix


def test_sushy_with_a_session(chassis: Chassis) -> None:
    import sushy
    from sushy.auth import SessionAuth

    bmc = chassis.bmcs["blade1"]
    auth = SessionAuth(bmc.user, chassis.state.bmc_password.reveal())
    root = sushy.Sushy(f"https://{bmc.address}:{bmc.port}", auth=auth, verify=str(chassis.state.ca))
    (system,) = root.get_system_collection().get_members()
    system.reset_system(sushy.RESET_TYPE_ON)
    system.refresh()
    assert system.power_state == sushy.POWER_STATE_ON and chassis.pressed == [(1, "power", 1)]
    auth.close()
    assert chassis.http("GET", "/redfish/v1/SessionService/Sessions")[1]["Members@odata.count"] == 0


# --- plain HTTPS ------------------------------------------------------------------------------------------------------


def test_a_session_is_of_one_slot_and_ends(chassis: Chassis) -> None:
    sessions = "/redfish/v1/SessionService/Sessions"
    login = {"UserName": "labkit", "Password": chassis.state.bmc_password.reveal()}
    status, told, headers = chassis.http("POST", sessions, json.dumps(login).encode(), Content_Type="application/json")
    token, mine = headers["X-Auth-Token"], headers["Location"]
    assert status == 201 and told["@odata.id"] == mine and login["Password"] not in json.dumps(told)
    assert chassis.http("GET", "/redfish/v1/Systems", X_Auth_Token=token)[0] == 200
    assert chassis.http("GET", "/redfish/v1/Systems", blade="blade2", X_Auth_Token=token)[0] == 401
    assert chassis.http("GET", mine, X_Auth_Token=token)[1]["UserName"] == "labkit"
    assert chassis.http("DELETE", mine, X_Auth_Token=token)[0] == 204
    assert chassis.http("GET", "/redfish/v1/Systems", X_Auth_Token=token)[0] == 401
    wrong = json.dumps({**login, "Password": "wrong"}).encode()
    assert chassis.http("POST", sessions, wrong, Content_Type="application/json")[0] == 401


@pytest.mark.parametrize(
    "given",
    ["", "Basic", "Basic !!!", "Basic bGFia2l0", "Bearer x", "Basic " + b64encode(b"labkit:wrong").decode(),
     "Basic " + b64encode(b"root:\xff").decode()],
)  # fmt: skip
def test_who_has_not_the_password_sees_the_root_alone(chassis: Chassis, given: str) -> None:
    for path in ("/redfish/v1/Systems", "/redfish/v1/Systems/blade1", "/redfish/v1/nowhere", "/"):
        status, told, headers = chassis.http("GET", path, Authorization=given)
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic ")
        assert told["error"]["@Message.ExtendedInfo"][0]["MessageId"] == "Base.1.8.NoValidSession"
    reset = "/redfish/v1/Systems/blade1/Actions/ComputerSystem.Reset"
    assert chassis.http("POST", reset, b'{"ResetType": "On"}', Authorization=given)[0] == 401 and not chassis.pressed
    for path in ("/redfish", "/redfish/v1", "/redfish/v1/"):
        assert chassis.http("GET", path, Authorization=given)[0] == 200


SYSTEM = "/redfish/v1/Systems/blade1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "name"),
    [
        ("GET", "/redfish/v1/Chassis", None, 404, "ResourceMissingAtURI"),
        ("GET", "/redfish/v1/Systems/blade2", None, 404, "ResourceMissingAtURI"),
        ("POST", "/redfish/v1/Systems/blade2/Actions/ComputerSystem.Reset", b"{}", 404, "ResourceMissingAtURI"),
        ("DELETE", SYSTEM, None, 405, "GeneralError"),
        ("POST", RESET, b"", 400, "MalformedJSON"),
        ("POST", RESET, b"{", 400, "MalformedJSON"),
        ("POST", RESET, b"\xff", 400, "MalformedJSON"),
        ("POST", RESET, b"[" * 9000, 400, "MalformedJSON"),
        ("POST", RESET, b"[]", 400, "UnrecognizedRequestBody"),
        ("POST", RESET, b"{}", 400, "ActionParameterMissing"),
        ("POST", RESET, b'{"ResetType": "Explode"}', 400, "ActionParameterValueNotInList"),
        ("POST", RESET, b'{"ResetType": ["On"]}', 400, "ActionParameterValueNotInList"),
        ("POST", RESET, b'{"ResetType": "On", "Soon": true}', 400, "ActionParameterUnknown"),
        ("POST", RESET, b'{"ResetType": "ForceRestart"}', 409, "ResourceInStandby"),
        ("POST", RESET, b" " * 20000, 413, "GeneralError"),
        ("PATCH", SYSTEM, b'{"PowerState": "On"}', 400, "PropertyUnknown"),
        ("PATCH", SYSTEM, b'{"Boot": {"BootNext": "x"}}', 400, "PropertyUnknown"),
        ("PATCH", SYSTEM, b'{"Boot": {"BootSourceOverrideTarget": "Cd"}}', 400, "PropertyValueNotInList"),
        ("PATCH", SYSTEM, b'{"Boot": {"BootSourceOverrideEnabled": {}}}', 400, "PropertyValueNotInList"),
        ("PATCH", SYSTEM, b'{"Boot": "Pxe"}', 400, "PropertyMissing"),
        ("PATCH", SYSTEM, b"{}", 400, "PropertyMissing"),
    ],
)
def test_what_is_refused(chassis: Chassis, method: str, path: str, body: bytes | None, status: int, name: str) -> None:
    found, told, headers = chassis.http(method, path, body)
    assert found == status and not chassis.pressed
    assert told["error"]["code"] == f"Base.1.8.{name}" and told["error"]["message"]
    assert set(told["error"]["@Message.ExtendedInfo"][0]) >= {"MessageId", "Message", "Severity", "Resolution"}
    assert headers["OData-Version"] == "4.0" and "Traceback" not in str(told)


def test_a_machine_that_does_not_start_is_said(chassis: Chassis) -> None:
    chassis.refuses = "its machine did not start: no room"
    status, told, _ = chassis.http("POST", RESET, b'{"ResetType": "On"}')
    assert status == 500 and told["error"]["message"] == "its machine did not start: no room"
    assert chassis.ask("on")["error"] == "refused"
