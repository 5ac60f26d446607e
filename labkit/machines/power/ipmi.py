"""One IPMI 2.0 call in a process of its own (pyghmi is the client), as `labkit.machines.power.calls` asks for it.

pyghmi has no words for some failures and too many for others: they are sorted here by its texts (its
``private/constants.py``, which are those of the IPMI 2.0 specification, tables 5-2 and 13-15).
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from typing import Any

from labkit.lab.process import faults

SIGNS = (
    ("sessions", ("insufficient resources", "out of sessions", "slots")),
    ("cipher", ("cipher suite", "invalid authentication algorithm", "integrity algorithm", "confidentiality", "md5 ")),
    ("rights", ("privilege", "privelege", "unauthorized role", "invalid role")),
    ("password", ("password", "unauthorized name", "username", "rakp")),
    ("busy", ("busy", "initialization in progress", "firmware update mode", "timeout while processing")),
)
"""Which words in pyghmi's text say which failure, the first that fits."""


def failure(text: str, *, is_in: bool) -> dict[str, str]:
    """What an exception's text says; ``is_in`` when the BMC had let us in. An unreachable one's text is ``None``."""
    low = text.lower()
    if low in ("", "none", "timeout") or "no longer connected" in low:
        return {"error": "slow" if is_in else "silent"}
    for kind, words in SIGNS:
        if any(word in low for word in words):
            return {"error": kind, "detail": text}
    return {"error": "refused" if is_in else "password", "detail": text}


def main() -> int:
    """Read ``{bmc, port, user, password, state}``, press or ask, and print ``{power}`` or ``{error, …}``."""
    from pyghmi.exceptions import PyghmiException
    from pyghmi.ipmi.command import Command

    request = json.load(sys.stdin)
    bmc = None
    try:
        bmc = Command(request["bmc"], request["user"], request["password"], port=request["port"], keepalive=False)
        result = press(bmc, request["state"])
    except PyghmiException as error:
        result = failure(str(error), is_in=bmc is not None)
    except (socket.gaierror, UnicodeError) as error:  # the second for a name with an empty part
        result = {"error": "name", "detail": getattr(error, "strerror", "") or "this is no name"}
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    if bmc is not None:  # or the BMC keeps a place for us, of four or five, until that has timed out
        with contextlib.suppress(PyghmiException):
            bmc.ipmi_session.logout()
    return 0


def press(bmc: Any, state: str) -> dict[str, str]:
    """Do it with a session of pyghmi's. Raises PyghmiException."""
    if state == "status":
        answer = bmc.get_power()
    elif state == "pxe":
        answer = {**bmc.set_bootdev("network", persist=False), "powerstate": state}
    else:
        answer = bmc.set_power(state, wait=False)
    if "error" in answer:
        return failure(str(answer["error"]), is_in=True)
    return {"power": str(answer.get("powerstate") or answer.get("pendingpowerstate"))}


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
