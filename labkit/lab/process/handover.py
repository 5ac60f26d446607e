"""What a part of the lab is told when it starts: one value, in memory that only it and the supervisor have.

It lies in a file without a name (memfd_create(2)), so a part needs no right to read any file of a person's, and no
secret is in an environment or a command line.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, TypeVar

VARIABLE = "LABKIT_HANDED"
T = TypeVar("T")


def hand(value: object) -> int:
    """Lay a value down; the descriptor to pass on, whose number belongs into the environment as `VARIABLE`."""
    descriptor = os.memfd_create("labkit")
    os.write(descriptor, pickle.dumps(value))
    return descriptor


def take(kind: type[T]) -> T:
    """The value that this process was handed. Raises KeyError where it was started by nobody who hands anything."""
    descriptor = int(os.environ[VARIABLE])
    value: Any = pickle.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    assert isinstance(value, kind)
    return value
