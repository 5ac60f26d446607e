"""Having the lab that is up take in its changed file, and what came of it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labkit.errors import ControlError, NotUpError
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.servers.changed_lab.take_in import RESTART

RELOAD_S = 60.0


def have_taken_in(state: State) -> tuple[bool, str]:
    """Whether a lab that is up knows the blades of its file now, and what there is to say of that.

    The words are empty where no lab is up.
    """
    try:
        return True, in_words(rpc.call(state.control, "reload", timeout_s=RELOAD_S))
    except NotUpError:
        return False, ""
    except ControlError as error:
        return False, f"The lab that is up goes on without this: {error.what}\n  fix: {error.fix or RESTART}"


def in_words(answer: Mapping[str, Any]) -> str:
    """What a supervisor answered, for a person."""
    added, removed, on, off, silent = (_names(answer, key) for key in ("added", "removed", "on", "off", "silent"))
    lines = [
        f"The lab that is up knows {added} now." if added else "",
        f"The lab that is up does not answer {removed} any more." if removed else "",
        f"What is on in the slot of {on} stays on, until the lab is down." if on else "",
        f"The virtual chassis has got a machine for {off}, which is off. If the one that asked is not in the chassis, "
        "end it before you switch this one on: both have the same cards." if off else "",
        f"{silent} did not answer, and will know when started anew: ./lab status tells" if silent else "",
    ]  # fmt: skip
    return "\n".join(filter(None, lines)) or "The lab that is up knew this already."


def _names(answer: Mapping[str, Any], key: str) -> str:
    names: Sequence[str] = answer.get(key, ())
    return ", ".join(names)
