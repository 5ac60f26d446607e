"""What a part of the lab is told when it starts: one value, in memory that only it and the supervisor have.

It lies in a file without a name (memfd_create(2)), so a part needs no right to read any file of a person's, and no
secret is in an environment or a command line. The file begins with the place of the value that holds now, 8 bytes, big
end first: a value that takes its place is put behind it, so whoever reads meanwhile has the one or the other, whole.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, TypeVar

VARIABLE = "LABKIT_HANDED"
PLACE_B = 8
T = TypeVar("T")


def hand(value: object) -> int:
    """Lay a value down; the descriptor to pass on, whose number belongs into the environment as `VARIABLE`."""
    descriptor = os.memfd_create("labkit")
    os.write(descriptor, bytes(PLACE_B))
    hand_anew(descriptor, value)
    return descriptor


def hand_anew(descriptor: int, value: object) -> None:
    """Lay another value down in the place of one that was handed over: it is what `take` finds from now on."""
    end = os.fstat(descriptor).st_size
    os.pwrite(descriptor, pickle.dumps(value), end)
    os.pwrite(descriptor, end.to_bytes(PLACE_B), 0)


def take(kind: type[T]) -> T:
    """The value that this process was handed. Raises KeyError where it was started by nobody who hands anything."""
    descriptor = int(os.environ[VARIABLE])
    place = int.from_bytes(os.pread(descriptor, PLACE_B, 0))
    value: Any = pickle.loads(os.pread(descriptor, os.fstat(descriptor).st_size - place, place))
    assert isinstance(value, kind)
    return value
