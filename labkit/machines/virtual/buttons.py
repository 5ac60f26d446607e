"""What ``ipmi_sim`` runs for a slot's buttons: ``buttons.py SOCKET SLOT get|set|check NAME [VALUE] …``.

Runs for every power query, so it imports next to nothing and stands alone.
"""

import json
import socket
import sys


def main(arguments: list[str]) -> int:
    """Carry out one call and print what was asked for, ``name:value`` a line (ipmi_sim's chassis_control)."""
    path, slot, operation, *rest = arguments
    if operation == "check":
        return 0
    if operation == "get":
        for name in rest:
            value = "default" if name == "boot" else str(int(ask(path, "slot_power", slot=int(slot))["on"]))
            print(f"{name}:{value}")
        return 0
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name in ("power", "reset", "shutdown"):
            ask(path, "slot_set", slot=int(slot), button=name, value=int(value))
    return 0


def ask(path: str, verb: str, **fields: object) -> dict[str, int]:
    """One request to the supervisor (see `labkit.lab.process.rpc`)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")
        answer: dict[str, int] = json.loads(sock.makefile().readline())
    if not answer.get("ok"):
        raise SystemExit(str(answer.get("what")))
    return answer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
