"""A known failure in a test that causes it: what went wrong is what a person is told.

`tests.diagnosis.test_hints` looks for the calls of these two in all tests, by the name they are given, and holds that
no hint is without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from labkit import events
from labkit.diagnosis import hints
from labkit.errors import LabkitError
from labkit.events.folding import fold_all

HINTS = (*(rule.hint for rule in hints.RULES), *hints._SEEN.values())
"""All there are: those for errors, and those for signs in the events."""


@contextmanager
def causes(name: str) -> Iterator[pytest.ExceptionInfo[LabkitError]]:
    """What is done inside fails, and its error is known by this hint."""
    with pytest.raises(LabkitError) as caught:
        yield caught
    hint = hints.match_error(caught.value)
    assert hint is not None and hint.name == name, f"{caught.value!r} → {hint}"


def shows(name: str, stream: Iterable[events.Event], blade: str) -> None:
    """What the boot server told of a blade shows this hint."""
    state = fold_all(stream)
    found = [hint.name for _, hint in hints.match_events(state, [blade])]
    assert found == [name], f"{found}: {state.blade(blade)}"
