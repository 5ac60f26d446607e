"""What a Redfish service measures of a machine, and what it has noted: read from its chassis and its log services.

Two models are in use, and both are read: ``Thermal`` and ``Power``, and since DSP8010 2020.4 ``ThermalSubsystem`` and
``EnvironmentMetrics``, whose readings say of which ``Sensor`` they are. A service that has only ``Sensors`` is read
there. The names of fields are those of DMTF's schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from sushy.connector import Connector
    from sushy.resources.system.system import System

MOST_ASKED = 120
"""So many resources are fetched for one question: each is a request, and a controller is slow."""
NEWEST = 200
AWAY = ("Absent", "Disabled", "UnavailableOffline")
"""The states of what has no reading (``Status.State``)."""
HEALTH = {"OK": "ok", "Warning": "warning", "Critical": "critical"}
KINDS = {"Temperature": ("temperature", "°C"), "Rotational": ("fan", "RPM"), "Power": ("power", "W")}
"""The readings that are taken of a ``Sensor``, by ``ReadingType``, and their units."""
_ORDER = ("ok", "warning", "critical")
_UPPER = ("UpperThresholdNonCritical", "UpperThresholdCritical", "UpperThresholdFatal")
_LOWER = ("LowerThresholdNonCritical", "LowerThresholdCritical", "LowerThresholdFatal")
_NEW_UPPER, _NEW_LOWER = (
    ("UpperCaution", "UpperCritical", "UpperFatal"),
    ("LowerCaution", "LowerCritical", "LowerFatal"),
)

Json = Mapping[str, Any]


class Asker:
    """Fetches resources of one service, each once, and no more than `MOST_ASKED`."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._had: dict[str, Json] = {}

    def get(self, path: object) -> Json:
        """A resource; empty for one that is not there. Raises sushy's errors."""
        from sushy import exceptions

        if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
            return {}  # a link to somewhere else would take the password there
        path = path.partition("#")[0]
        if path not in self._had:
            if len(self._had) >= MOST_ASKED:
                return {}
            try:
                found = self._connector.get(path).json()
            except exceptions.ResourceNotFoundError:
                found = {}
            self._had[path] = found if isinstance(found, dict) else {}
        return self._had[path]

    def linked(self, resource: Json, name: str) -> Json:
        """What a resource links to by a name."""
        return self.get(_object(resource.get(name)).get("@odata.id"))

    def members(self, resource: Json, name: str) -> Iterator[Json]:
        """Each member of a collection that a resource links to."""
        for link in _objects(self.linked(resource, name).get("Members")):
            yield self.get(link.get("@odata.id"))


def sensors(system: System) -> list[dict[str, Any]]:
    """The temperatures, fans and watts of the chassis that a machine is in. Raises sushy's errors."""
    ask = Asker(system._conn)
    found: list[dict[str, Any]] = []
    for link in _objects(_object(system.json.get("Links")).get("Chassis")):
        found += _of_chassis(ask, ask.get(link.get("@odata.id")))
    return found


def _of_chassis(ask: Asker, chassis: Json) -> list[dict[str, Any]]:
    found = [*_thermal(ask.linked(chassis, "Thermal")), *_power(ask.linked(chassis, "Power"))]
    had = {one["kind"] for one in found}
    if not had & {"temperature", "fan"}:
        found += _subsystem(ask, ask.linked(chassis, "ThermalSubsystem"))
    if "power" not in had:
        found += _environment(ask, ask.linked(chassis, "EnvironmentMetrics"))
    return found or [one for sensor in ask.members(chassis, "Sensors") for one in _sensor(sensor)]


def _thermal(thermal: Json) -> Iterator[dict[str, Any]]:
    """``Thermal``: its temperatures, and its fans, which were called by ``FanName`` in its first version."""
    for one in _objects(thermal.get("Temperatures")):
        yield from _one(one, "temperature", "°C", one.get("Name"), one.get("ReadingCelsius"))
    for one in _objects(thermal.get("Fans")):
        unit = "%" if one.get("ReadingUnits") == "Percent" else "RPM"
        yield from _one(one, "fan", unit, one.get("Name") or one.get("FanName"), one.get("Reading"))


def _power(power: Json) -> Iterator[dict[str, Any]]:
    for one in _objects(power.get("PowerControl")):
        yield from _one(one, "power", "W", one.get("Name"), one.get("PowerConsumedWatts"))


def _subsystem(ask: Asker, thermal: Json) -> Iterator[dict[str, Any]]:
    for one in _objects(ask.linked(thermal, "ThermalMetrics").get("TemperatureReadingsCelsius")):
        whole = ask.get(one.get("DataSourceUri"))  # with its limits, where the service says which sensor that is
        name = one.get("DeviceName") or whole.get("Name") or one.get("PhysicalContext")
        yield from _one(whole, "temperature", "°C", name, one.get("Reading"))
    for fan in ask.members(thermal, "Fans"):
        speed = _object(fan.get("SpeedPercent"))
        if _is_number(speed.get("SpeedRPM")):
            yield from _one(fan, "fan", "RPM", fan.get("Name"), speed["SpeedRPM"])
        else:
            yield from _one(fan, "fan", "%", fan.get("Name"), speed.get("Reading"))


def _environment(ask: Asker, metrics: Json) -> Iterator[dict[str, Any]]:
    power = _object(metrics.get("PowerWatts"))
    whole = ask.get(power.get("DataSourceUri"))
    yield from _one(whole, "power", "W", whole.get("Name") or "power", power.get("Reading"))


def _sensor(sensor: Json) -> Iterator[dict[str, Any]]:
    kind, unit = KINDS.get(str(sensor.get("ReadingType")), ("", ""))
    if kind:
        yield from _one(sensor, kind, unit, sensor.get("Name"), sensor.get("Reading"))


def _one(about: Json, kind: str, unit: str, name: object, value: object) -> Iterator[dict[str, Any]]:
    """A reading, where there is a value; ``about`` has its status and its limits."""
    status = _object(about.get("Status"))
    if not _is_number(value) or status.get("State") in AWAY:
        return
    upper, lower = _limits(about, _UPPER, _NEW_UPPER), _limits(about, _LOWER, _NEW_LOWER)
    state = HEALTH.get(str(status.get("Health")), "ok")
    passed = [(number, limit) for number, limit in upper if value >= limit]
    if passed:
        state = max(state, "warning" if passed[-1][0] == 0 else "critical", key=_ORDER.index)
    is_low = any(value <= limit for _, limit in lower)
    is_high = state != "ok" and not is_low
    limits = [limit for _, limit in passed][-1:] or [limit for _, limit in upper][:1]
    yield {
        "name": str(name or kind), "kind": kind, "value": value, "unit": unit, "state": state, "is_high": is_high,
        "limit": limits[0] if limits and (passed or not is_high) else None,
    }  # fmt: skip


def _limits(about: Json, old: Iterable[str], new: Iterable[str]) -> list[tuple[int, float]]:
    """The limits that are told: 0 for the one of a warning, 1 and 2 for the others; in the older model or the newer."""
    thresholds = _object(about.get("Thresholds"))
    for values in ([about.get(name) for name in old], [_object(thresholds.get(name)).get("Reading") for name in new]):
        if found := [(number, float(limit)) for number, limit in enumerate(values) if _is_number(limit)]:
            return found
    return []


def log(system: System) -> list[dict[str, Any]]:
    """What a machine's log services have noted, and those of its managers: oldest first. Raises sushy's errors."""
    ask = Asker(system._conn)
    managers = _objects(_object(system.json.get("Links")).get("ManagedBy"))
    owners = [system.json, *(ask.get(link.get("@odata.id")) for link in managers)]
    found = [
        {
            "time": str(entry.get("Created") or ""),
            "state": HEALTH.get(str(entry.get("Severity")), "ok"),
            "text": str(entry.get("Message") or entry.get("MessageId") or entry.get("Name") or ""),
        }
        for owner in owners
        for service in ask.members(owner, "LogServices")
        for entry in _entries(ask, service)
    ]
    return sorted(found, key=lambda one: one["time"])[-NEWEST:]


def _entries(ask: Asker, service: Json) -> Iterator[Json]:
    """The entries of a log: most services give them whole in their collection, and some only link to them."""
    for one in _objects(ask.linked(service, "Entries").get("Members")):
        yield one if "Message" in one or "Created" in one else ask.get(one.get("@odata.id"))


def has_lamp(system: System) -> bool:
    """Whether a machine has a lamp by which it is found."""
    return system.json.get("LocationIndicatorActive") is not None or system.json.get("IndicatorLED") is not None


def light(system: System, *, on: bool) -> None:
    """Switch that lamp: ``LocationIndicatorActive``, or the older ``IndicatorLED``. Raises sushy's errors."""
    if system.json.get("LocationIndicatorActive") is not None:
        change: dict[str, object] = {"LocationIndicatorActive": on}
    else:
        change = {"IndicatorLED": "Blinking" if on else "Off"}
    system._conn.patch(system.path, data=change, etag=system._get_etag())


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
