"""One IPMI call in a process of its own: JSON in, JSON out. See `labkit.machines.power`."""

from __future__ import annotations

import json
import sys

from labkit.lab.process import faults


def main() -> int:
    """Read ``{bmc, port, user, password, state}``, press or ask, and print ``{power}`` or ``{error, what}``."""
    from pyghmi.exceptions import IpmiException
    from pyghmi.ipmi.command import Command

    request = json.load(sys.stdin)
    is_in = False
    try:
        bmc = Command(request["bmc"], request["user"], request["password"], port=request["port"], keepalive=False)
        is_in = True
        if request["state"] == "status":
            answer = bmc.get_power()
        else:
            answer = bmc.set_power(request["state"], wait=False)
        result = {"power": str(answer.get("powerstate") or answer.get("pendingpowerstate"))}
        if "error" in answer:
            result = {"error": "refused", "what": str(answer["error"])}
    except IpmiException as error:
        # An unreachable BMC gives an exception whose text is "None".
        said = str(error)
        kind = "silent" if said in ("None", "") or "timeout" in said.lower() else "refused" if is_in else "password"
        result = {"error": kind, "what": "no answer" if kind == "silent" else said}
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
