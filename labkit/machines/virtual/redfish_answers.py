"""What a virtual slot says over Redfish: its resources, its errors, and what may be changed. PURE.

The names are those of DMTF's schemas (DSP8010), the rules those of the specification (DSP0266), the messages those of
the Base registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from labkit.lab import Blade

ROOT = "/redfish/v1/"
SYSTEMS, SESSION_SERVICE = "/redfish/v1/Systems", "/redfish/v1/SessionService"
SESSIONS = f"{SESSION_SERVICE}/Sessions"
RESETS = ("On", "ForceOn", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle", "PushPowerButton")
"""The values of ``ResetType`` that a slot takes."""
RUNNING_ONLY = ("GracefulShutdown", "ForceRestart", "PowerCycle")
"""Those of which a machine that is off knows nothing."""
TARGETS, ENABLED, MODES = ("None", "Pxe"), ("Disabled", "Once", "Continuous"), ("UEFI", "Legacy")
REGISTRY = "Base.1.8"

Json = dict[str, Any]


class Refused(Exception):
    """A request that is not carried out: an HTTP status, the message's name, and what is said of it."""

    def __init__(self, status: int, name: str, said: str, fix: str = "None.") -> None:
        super().__init__(said)
        self.status, self.body = status, error(name, said, fix)


def error(name: str, said: str, fix: str) -> Json:
    """An error as DSP0266 has it, section 8.6."""
    told = {
        "@odata.type": "#Message.v1_1_1.Message", "MessageId": f"{REGISTRY}.{name}", "Message": said,
        "Severity": "Critical", "MessageSeverity": "Critical", "Resolution": fix,
    }  # fmt: skip
    return {"error": {"code": f"{REGISTRY}.{name}", "message": said, "@Message.ExtendedInfo": [told]}}


@dataclass(frozen=True)
class Boot:
    """From where a slot boots next. It has no other way than the network: so all that is kept is what was said."""

    target: str = "None"
    enabled: str = "Disabled"
    mode: str = "UEFI"

    def used(self) -> Boot:
        """What stays of it when a machine has begun to boot."""
        return replace(self, target="None", enabled="Disabled") if self.enabled == "Once" else self


def system_path(blade: Blade) -> str:
    """Where a blade's system is found."""
    return f"{SYSTEMS}/{blade.name}"


def root() -> Json:
    """The root of the service."""
    return {
        "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "@odata.id": ROOT, "Id": "RootService",
        "Name": "A slot of a virtual chassis", "RedfishVersion": "1.6.0", "Systems": _link(SYSTEMS),
        "SessionService": _link(SESSION_SERVICE), "Links": {"Sessions": _link(SESSIONS)},
    }  # fmt: skip


def collection(path: str, kind: str, name: str, members: list[str]) -> Json:
    """A collection that links to its members."""
    return {
        "@odata.type": f"#{kind}Collection.{kind}Collection", "@odata.id": path, "Name": name,
        "Members@odata.count": len(members), "Members": [_link(member) for member in members],
    }  # fmt: skip


def session_service(timeout_s: float) -> Json:
    """How one logs in."""
    return {
        "@odata.type": "#SessionService.v1_1_0.SessionService", "@odata.id": SESSION_SERVICE, "Id": "SessionService",
        "Name": "Sessions", "ServiceEnabled": True, "SessionTimeout": int(timeout_s), "Sessions": _link(SESSIONS),
    }  # fmt: skip


def session(identity: str, user: str) -> Json:
    """One who is logged in."""
    return {
        "@odata.type": "#Session.v1_1_0.Session", "@odata.id": f"{SESSIONS}/{identity}", "Id": identity,
        "Name": f"The session of {user}", "UserName": user,
    }  # fmt: skip


def system(blade: Blade, *, is_on: bool, boot: Boot) -> Json:
    """A blade's machine, as it is now."""
    path = system_path(blade)
    return {
        "@odata.type": "#ComputerSystem.v1_5_0.ComputerSystem", "@odata.id": path, "Id": blade.name,
        "Name": blade.name, "SystemType": "Virtual", "HostName": blade.name,
        "UUID": f"00000000-0000-4000-8000-{blade.macs[0].replace(':', '')}",
        "PowerState": "On" if is_on else "Off", "Status": {"State": "Enabled" if is_on else "StandbyOffline"},
        "MemorySummary": {"TotalSystemMemoryGiB": round(blade.memory_mib / 1024, 3)},
        "Boot": {
            "BootSourceOverrideTarget": boot.target, "BootSourceOverrideEnabled": boot.enabled,
            "BootSourceOverrideMode": boot.mode, "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS),
        },
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{path}/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": list(RESETS),
            }
        },
    }  # fmt: skip


def presses(reset: str, *, is_on: bool) -> tuple[tuple[str, int], ...]:
    """The buttons that a ``ResetType`` presses, with their values (`labkit.machines.virtual.buttons`)."""
    match reset:
        case "On" | "ForceOn":
            return (("power", 1),)
        case "ForceOff":
            return (("power", 0),)
        case "GracefulShutdown":
            return (("shutdown", 1),)
        case "ForceRestart":
            return (("reset", 1),)
        case "PowerCycle":
            return ("power", 0), ("power", 1)
        case _:
            return (("shutdown", 1),) if is_on else (("power", 1),)


def reset_type(body: Mapping[str, Any], *, is_on: bool) -> str:
    """The ``ResetType`` that is asked for. Raises Refused."""
    for name in body:
        if name != "ResetType":
            raise Refused(400, "ActionParameterUnknown", f"The action Reset has no parameter {name}.")
    if "ResetType" not in body:
        raise Refused(400, "ActionParameterMissing", "The action Reset requires the parameter ResetType.")
    wanted = body["ResetType"]
    if wanted not in RESETS:
        said = f"The value {wanted!r} of the parameter ResetType is none of {', '.join(RESETS)}."
        raise Refused(400, "ActionParameterValueNotInList", said)
    if wanted in RUNNING_ONLY and not is_on:
        said = f"The machine is off, so {wanted} is not possible."
        raise Refused(409, "ResourceInStandby", said, "Switch it on first: On.")
    return str(wanted)


def changed(boot: Boot, body: Mapping[str, Any]) -> Boot:
    """What a PATCH of a system makes of its boot. Raises Refused."""
    for name in body:
        if name != "Boot":
            raise _unknown(name)
    asked = body.get("Boot")
    if not isinstance(asked, dict) or not asked:
        raise Refused(400, "PropertyMissing", "The property Boot is required, and has to be an object.")
    rules = {
        "BootSourceOverrideTarget": ("target", TARGETS), "BootSourceOverrideEnabled": ("enabled", ENABLED),
        "BootSourceOverrideMode": ("mode", MODES),
    }  # fmt: skip
    for name, value in asked.items():
        if name not in rules:
            raise _unknown(f"Boot/{name}")
        field, allowed = rules[name]
        if value not in allowed:
            said = f"The value {value!r} of the property {name} is none of {', '.join(allowed)}."
            raise Refused(400, "PropertyValueNotInList", said)
        boot = replace(boot, **{field: value})
    return boot


def _unknown(name: str) -> Refused:
    said = f"The property {name} is not one that can be changed here."
    return Refused(400, "PropertyUnknown", said, "Change Boot, or nothing.")


def _link(path: str) -> Json:
    return {"@odata.id": path}
