"""The supervisor's socket, asked by whoever wants to know whether a lab is up."""

from __future__ import annotations

from typing import Any

from labkit.errors import NotUpError
from labkit.lab.process import rpc
from labkit.lab.state import State


def status(state: State, *, ask: bool = False) -> dict[str, Any] | None:
    """What the supervisor says of its lab, or None when there is none. With ``ask`` it asks its parts first.

    Raises DeniedError for somebody else's lab, and ControlError for one that does not answer.
    """
    try:
        return rpc.call(state.control, "status", timeout_s=10, ask=ask)
    except NotUpError:
        return None
