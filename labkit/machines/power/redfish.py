"""One Redfish call in a process of its own (sushy is the client), as `labkit.machines.power.calls` asks for it.

Who we are is said with each request (HTTP Basic, which DSP0266 section 13.3.1 asks of every service), so that no
session is left behind. A certificate is believed when its fingerprint is the one in ``lab.yaml``, else as a browser
would; before that no password leaves.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labkit.lab import certificates
from labkit.lab.process import faults
from labkit.machines.power import redfish_sensors

if TYPE_CHECKING:
    from sushy import Sushy
    from sushy.connector import Connector
    from sushy.resources.system.system import System

CONNECT_SHARE = 1 / 3
"""How much of its time a call waits for a connection."""
OLD = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "DH_KEY_TOO_SMALL",
       "KEY_TOO_SMALL", "MD_TOO_WEAK", "WRONG_SIGNATURE_TYPE", "UNSAFE_LEGACY", "INTERNAL_ERROR")  # fmt: skip
"""What OpenSSL says of a server that knows nothing of the last fifteen years."""
RESETS = {
    "on": ("On", "ForceOn", "PushPowerButton"),
    "off": ("ForceOff",),
    "shutdown": ("GracefulShutdown", "PushPowerButton"),
    "reset": ("ForceRestart", "PowerCycle"),
}
"""The ``ResetType`` of each button (DSP0268, ComputerSystem), and what stands in where a service has not that."""


def main() -> int:
    """Read ``{bmc, port, user, password, state, certificate, system, limit_s}``, press or ask, and print
    what came of it (`labkit.machines.power.calls`), or ``{error, …}``."""
    logging.disable(logging.CRITICAL)
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
    return 0


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What came of it, or which failure."""
    from sushy import exceptions

    try:
        socket.getaddrinfo(request["bmc"], request["port"], type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:  # the second for a name with an empty part
        return {"error": "name", "detail": getattr(error, "strerror", "") or "this is no name"}
    try:
        with connected(request) as root:
            return press(chosen(root, request["system"]), request["state"])
    except Missing as missing:
        return {"error": "system", "detail": missing.args[0], "fix": missing.args[1]}
    except exceptions.ConnectionError as error:
        return unreached(error.__context__ or error, request)
    except exceptions.HTTPError as error:
        return refused(error)
    except (exceptions.SushyError, ValueError, LookupError, AttributeError, TypeError) as error:
        # sushy takes any JSON for what the schema says
        return {"error": "other", "detail": str(error)[:200]}


class Missing(Exception):
    """The blade is not among a service's systems: what is wrong, and what to write."""


@contextlib.contextmanager
def connected(request: dict[str, Any]) -> Iterator[Sushy]:
    """The root of a service. Raises sushy's errors."""
    import sushy
    from sushy.auth import BasicAuth

    host = f"[{request['bmc']}]" if ":" in request["bmc"] else request["bmc"]
    url = f"https://{host}:{request['port']}"
    with contextlib.closing(connector(url, request["certificate"], request["limit_s"])) as link:
        auth = BasicAuth(request["user"], request["password"])
        yield sushy.Sushy(url, auth=auth, connector=link, public_connector=link)


def connector(url: str, certificate: str, limit_s: float) -> Connector:
    """sushy's connector, which tries once, asks no proxy, and believes a pinned certificate alone."""
    import requests
    from sushy.connector import Connector

    class Pinned(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, assert_fingerprint=certificate, **options)

    class Once(Connector):  # type: ignore[misc] # sushy ships no types
        def __init__(self) -> None:
            connect_s = limit_s * CONNECT_SHARE
            super().__init__(
                url, verify=not certificate, server_side_retries=1, connect_timeout=connect_s,
                default_request_timeout=max(0.1, limit_s - connect_s),
            )  # fmt: skip
            self._session.trust_env = False
            if certificate:
                self._session.mount("https://", Pinned())

    return Once()


def chosen(root: Sushy, name: str) -> System:
    """The system of that Id or name; without one the only one there is. Raises Missing."""
    collection = root.get_system_collection()
    paths = {path.rstrip("/").rpartition("/")[2]: path for path in collection.members_identities}
    fix = f"write one of these under bmc: in lab.yaml, as system: … – {', '.join(paths)}"
    if not name and len(paths) == 1:
        return root.get_system(next(iter(paths.values())))
    if not name:
        raise Missing(f"it has {len(paths)} machines, and lab.yaml does not say which is the blade", fix)
    if name in paths:
        return root.get_system(paths[name])
    for system in collection.get_members():
        if name in (system.name, system.uuid):
            return system
    raise Missing(f"it has no machine {name!r}", fix)


def press(system: System, state: str) -> dict[str, Any]:
    """Press a button of a machine, or ask for its power or what it measures. Raises sushy's errors."""
    import sushy

    if state == "sensors":
        return {"power": state, "found": redfish_sensors.sensors(system)}
    if state == "log":
        return {"power": state, "found": redfish_sensors.log(system)}
    if state in ("identify", "identify-off"):
        if not redfish_sensors.has_lamp(system):
            return {"error": "refused", "detail": "it has no identify lamp"}
        redfish_sensors.light(system, on=state == "identify")
        return {"power": state}
    now = str(system.power_state.value) if system.power_state is not None else ""
    is_on = now in ("On", "PoweringOff", "Paused")
    if state == "status":
        return {"power": "on" if is_on else "off"} if now else {"error": "refused", "detail": "it tells no power state"}
    if state == "pxe":
        system.set_system_boot_options(sushy.BOOT_SOURCE_TARGET_PXE, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
        return {"power": state}
    button = state if state != "boot" else "reset" if is_on else "on"
    if now == {"on": "On", "off": "Off", "shutdown": "Off"}.get(button):
        return {"power": button}
    allowed = {value.value: value for value in system.get_allowed_reset_system_values()}
    known = [allowed[name] for name in RESETS[button] if name in allowed]
    if not known:
        return {"error": "refused", "detail": f"it knows no {RESETS[button][0]}, only {', '.join(sorted(allowed))}"}
    system.reset_system(known[0])
    return {"power": button}


# --- failures ---------------------------------------------------------------------------------------------------------


def refused(error: Any) -> dict[str, str]:
    """The failure of an HTTP status, told by sushy's HTTPError. A message's name is in DMTF's Base registry."""
    said = str(error)
    if "SessionLimitExceeded" in said:
        return {"error": "sessions"}
    if error.status_code == 401:
        return {"error": "password"}
    if error.status_code == 403:
        return {"error": "rights"}
    detail = f"{error.detail or error.code} (HTTP status {error.status_code})"[:300]
    if error.status_code in (429, 503):
        return {"error": "busy", "detail": detail}
    if error.status_code == 404 and error.body is None:
        return {"error": "other", "detail": "HTTP status 404"}
    return {"error": "refused", "detail": detail}


def unreached(error: BaseException, request: dict[str, Any]) -> dict[str, str]:
    """The failure of a connection, told by the exceptions that led to one another."""
    causes = list(_causes(error))
    text = " ".join(str(cause) for cause in causes)
    kinds = {type(cause).__name__ for cause in causes}
    if "certificate verify failed" in text or "Fingerprints did not match" in text:
        return untrusted(request)
    if any(sign in text for sign in OLD):
        return {"error": "cipher", "detail": text.partition("[SSL: ")[2].partition("]")[0] or "the handshake failed"}
    if "SSL" in text and "EOF" not in text:
        return {"error": "other", "detail": "it speaks no TLS"}
    if "ReadTimeout" in kinds or "ReadTimeoutError" in kinds:
        return {"error": "slow"}
    if kinds & {"ConnectTimeout", "ConnectTimeoutError", "ConnectionRefusedError", "NewConnectionError"}:
        return {"error": "silent"}
    return {"error": "broken"}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it came from or holds."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.append(one)
        yield one
        held = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting += [other for other in held if isinstance(other, BaseException)]


def untrusted(request: dict[str, Any]) -> dict[str, str]:
    """A certificate that is not believed: with its fingerprint, and how to pin it."""
    try:
        pem = ssl.get_server_certificate((request["bmc"], request["port"]), timeout=request["limit_s"] * CONNECT_SHARE)
    except OSError:
        return {"error": "broken"}
    found = certificates.fingerprint(pem)
    shown = ":".join(found[at : at + 2] for at in range(0, len(found), 2)).upper()
    what = "its certificate is its own, and nobody vouches for it"
    fix = "compare this with what the BMC itself shows"
    if request["certificate"]:
        what = "its certificate is not the one that lab.yaml pins"
        fix = "find out why it changed (a new firmware, a reset, or somebody in between)"
    fix += f"; then write under bmc: in lab.yaml: certificate: {shown}"
    return {"error": "certificate", "detail": f"{what}; its SHA-256 fingerprint is {shown}", "fix": fix}


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
