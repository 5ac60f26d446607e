"""A type for what must not be shown."""

from __future__ import annotations


class Secret:
    """A string that prints as ``‹secret›`` wherever a value is printed; ``reveal()`` is the one way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call this only where bytes leave for the one who may have them."""
        return self._value

    def __repr__(self) -> str:
        return "‹secret›"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)
