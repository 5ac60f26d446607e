"""Redfish: every button of sushy-tools' emulator, and every failure in its sentence, within its time limit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import PowerError
from labkit.lab import Bmc, PowerKind
from labkit.lab.lab_yaml.bmcs import fingerprint
from labkit.lab.secret import Secret
from labkit.machines import power
from labkit.machines.power import calls, redfish
from tests.rig.redfish import ID, PASSWORD, Service, emulator, make_certificate
from tests.rig.redfish_table import GOOD, base, canned

pytestmark = pytest.mark.simulator

SYSTEM = f"Systems/{ID[:-1]}1"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy takes longer for a process than a BMC for its answer."""
    monkeypatch.setattr(power, "CALL_S", 120.0)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with emulator(tmp_path_factory.mktemp("redfish")) as running:
        yield replace(running, bmc=replace(running.bmc, certificate=running.certificate))


def ask(bmc: Bmc, state: str = "status", limit_s: float = 120.0) -> dict[str, str]:
    return redfish.answer({
        "bmc": bmc.address, "port": bmc.port, "user": bmc.user, "password": PASSWORD.reveal(), "state": state,
        "certificate": bmc.certificate, "system": bmc.system, "limit_s": limit_s,
    })  # fmt: skip


# --- the emulator -----------------------------------------------------------------------------------------------------


def test_every_button(service: Service) -> None:
    """What it did is asked of it without our client."""

    def press(state: str) -> str:
        assert "error" not in ask(service.bmc, state)
        return str(service.get(SYSTEM)["PowerState"])

    assert ask(service.bmc, "status") == {"power": "off"}
    assert [press(state) for state in ("on", "on", "reset", "boot", "shutdown", "boot", "off")] == [
        "On", "On", "On", "On", "Off", "On", "Off",
    ]  # fmt: skip
    press("pxe")
    assert service.get(SYSTEM)["Boot"]["BootSourceOverrideTarget"] == "Pxe"


def test_a_button_is_pressed_in_a_process_of_its_own(service: Service) -> None:
    power.set_power("red1", service.bmc, PASSWORD, "on")
    assert service.get(SYSTEM)["PowerState"] == "On"
    assert power.wait_power("red1", service.bmc, PASSWORD, "on", timeout_s=60) < 60


def test_a_wrong_password_is_said_and_not_shown(service: Service) -> None:
    with pytest.raises(PowerError, match="it does not take this user or this password") as caught:
        power.power_state("red1", service.bmc, Secret("another-password"))
    assert "password_file" in caught.value.fix and caught.value.where == f"red1 (BMC 127.0.0.1:{service.bmc.port})"
    assert "another-password" not in str(caught.value)


def test_a_certificate_of_its_own_is_shown_so_that_it_can_be_pinned(service: Service) -> None:
    with pytest.raises(PowerError, match="nobody vouches for it") as caught:
        power.power_state("red1", replace(service.bmc, certificate=""), PASSWORD)
    shown = caught.value.fix.rpartition("certificate: ")[2]
    assert fingerprint(shown) == service.certificate and shown in caught.value.what
    with pytest.raises(PowerError, match="not the one that lab.yaml pins"):
        power.power_state("red1", replace(service.bmc, certificate="00" * 32), PASSWORD)


def test_a_machine_of_several_is_chosen(tmp_path: Path) -> None:
    with emulator(tmp_path, machines=2) as service:
        bmc = replace(service.bmc, certificate=service.certificate)
        for name in ("fake2", ID[:-1] + "2"):
            assert ask(replace(bmc, system=name), "boot")["power"] in ("on", "reset")
        assert service.get(SYSTEM)["PowerState"] == "Off"
        assert service.get(f"Systems/{ID[:-1]}2")["PowerState"] == "On"
        for name, what in (("", "it has 2 machines"), ("fake3", "it has no machine 'fake3'")):
            error = calls.told("red1", bmc, ask(replace(bmc, system=name)))
            assert what in error.what and ID[:-1] + "1" in error.fix and "system: " in error.fix


# --- failures that no emulator has ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("certificate")
    return folder, make_certificate(folder)


@pytest.mark.parametrize(
    ("rows", "what", "fix"),
    [
        ({"Systems": [base("SessionLimitExceeded", 503)]}, "as many sessions as it can take", "timed out"),
        ({"Systems": [base("InsufficientPrivilege", 403)]}, "this user may not do that", "operator"),
        ({"Systems": [base("ServiceTemporarilyUnavailable", 503)]}, "busy with something else: Service", "in a minute"),
        ({"Systems": [base("InternalError", 500)]}, "did not do it: InternalError it is (HTTP status 500)", "log"),
        ({"": [(404, None)]}, "does not speak Redfish", "bmc.port"),
        ({"": [(200, {"hello": "world"})]}, "does not speak Redfish", "bmc.port"),
        ({"Systems/1": [(200, {"Id": "1", "Name": "one"})]}, "it tells no power state", "log"),
    ],
)
def test_what_a_service_refuses(
    own: tuple[Path, str], rows: dict[str, list[tuple[int, Any]]], what: str, fix: str
) -> None:
    with canned(own, rows) as (bmc, _):
        error = calls.told("red1", bmc, ask(bmc))
    assert what in error.what and fix in error.fix and "\n" not in error.what


def test_a_button_that_it_does_not_have(own: tuple[Path, str]) -> None:
    with canned(own, {"Systems/1": [(200, {**GOOD["Systems/1"][0][1], "PowerState": "On"})]}) as (bmc, answers):
        error = calls.told("red1", bmc, ask(bmc, "shutdown"))
    assert "it knows no GracefulShutdown, only ForceRestart, On" in error.what and not answers.pressed


@pytest.mark.parametrize("state", ["status", "on"])
def test_what_is_safe_is_tried_again(own: tuple[Path, str], state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "AGAIN_S", 0.0)
    rows = {"Systems": [base("SessionLimitExceeded", 503), base("Busy", 503), *GOOD["Systems"]]}
    with canned(own, rows) as (bmc, answers):
        calls.call("red1", bmc, Secret("x"), state, timeout_s=120)
    assert answers.pressed == (['{"ResetType": "On"}'] if state == "on" else [])


def test_a_reset_is_pressed_once(own: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says that it was busy, and nobody knows whether it was done."""
    monkeypatch.setattr(calls, "AGAIN_S", 0.0)
    with canned(own, {"POST": [base("Busy", 503)]}) as (bmc, answers), pytest.raises(PowerError, match="it is busy"):
        power.set_power("red1", bmc, Secret("x"), "reset")
    assert answers.pressed == ['{"ResetType": "ForceRestart"}']


# --- failures of the connection ---------------------------------------------------------------------------------------


@contextmanager
def listener(serve: Any) -> Iterator[Bmc]:
    """A port whose connections are each handed to ``serve``."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                stack.enter_context(connection)
                serve(connection)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield Bmc("127.0.0.1", server.getsockname()[1], kind=PowerKind.REDFISH)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def fails(bmc: Bmc, limit_s: float = 30.0) -> PowerError:
    began = time.monotonic()
    error = calls.told("red1", bmc, ask(bmc, limit_s=limit_s))
    assert time.monotonic() - began < limit_s + 30
    return error


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = fails(Bmc("127.0.0.1", port, kind=PowerKind.REDFISH))
    assert error.what == "no answer" and "Redfish, which is HTTPS, is switched on" in error.fix


def test_it_listens_and_says_nothing() -> None:
    with listener(lambda connection: None) as bmc:
        assert fails(bmc, limit_s=0.4).what == "it is there, and gave no answer in time"


def test_it_hangs_up() -> None:
    with listener(lambda connection: connection.close()) as bmc:
        assert fails(bmc).what == "it broke the connection off"


def test_it_speaks_no_tls() -> None:
    with listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as bmc:
        error = fails(bmc)
    assert error.what == "what answers there does not speak Redfish: it speaks no TLS" and "bmc.port" in error.fix


def test_it_speaks_old_tls(own: tuple[Path, str]) -> None:
    """A server that knows no newer TLS than 1.1 answers a greeting with this alert (RFC 5246, section 7.2.2)."""
    alert = bytes((21, 3, 2, 0, 2, 2, 70))
    with listener(lambda connection: connection.sendall(alert)) as bmc:
        error = fails(bmc)
    assert "it offers no encryption that is safe today: " in error.what and "TLS 1.2" in error.fix


def test_its_name_is_unknown() -> None:
    error = fails(Bmc("a..b", 443, kind=PowerKind.REDFISH))
    assert error.what == "its address cannot be found: this is no name"


def test_the_whole_call_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CALL_S", 0.2)
    with listener(lambda connection: None) as bmc, pytest.raises(PowerError, match="no answer within 0.2 s"):
        power.power_state("red1", bmc, Secret("x"))
