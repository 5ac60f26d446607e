"""What a container's exit status means, in words.

PURE. A status above 128 is a signal's number and 128, as a shell writes it (POSIX.1-2017, 2.8.2) and Docker too; 125 to
127 are Docker's and the shell's words for a program that did not start (docker-run(1), EXIT STATUS).
"""

from __future__ import annotations

_SIGNALS = {
    1: "hangup",
    2: "interrupted",
    3: "told to quit",
    4: "illegal instruction",
    5: "trap",
    6: "aborted by itself",
    7: "bus error",
    8: "arithmetic error",
    9: "killed",
    11: "segmentation fault",
    13: "wrote to a pipe that nobody reads",
    14: "its alarm went off",
    15: "told to stop",
    24: "CPU time limit",
    25: "file size limit",
    31: "forbidden system call",
}
_MORE = {
    4: ": the program or its libraries are for another processor",
    9: ": it needs more memory than its limit, or was killed by somebody",
}
_STATUSES = {
    0: "its program had nothing more to do",
    125: "Docker could not start it",
    126: "its program cannot be executed",
    127: "its program, or one that it runs, was not found",
    128: "its container could not be started",
    255: "the program's own error, of the gravest kind",
}


def meaning(status: int) -> str:
    """What an exit status, 0 to 255, says about the end of a program."""
    if status in _STATUSES:
        return _STATUSES[status]
    number = status - 128
    if 0 < number <= 64:
        return f"{_SIGNALS.get(number, 'ended by a signal')} (signal {number}){_MORE.get(number, '')}"
    return "the program's own error"
