"""When a blade boots in a circle and is to be held. PURE.

What counts as a boot that ended by itself is `stages.BladeState.before`; nothing is counted a second time here.
"""

from __future__ import annotations

from labkit.events.stages import BladeState

BOOTS = 5
WITHIN_S = 30 * 60.0
"""So many boots in a row that end by themselves, in so long, are a circle."""


def circling(blade: BladeState) -> str:
    """Why a blade is to be held, as a sentence goes on after its name; empty where there is no reason to."""
    boots = [*blade.before, blade][-BOOTS:]
    took_s = blade.began - boots[0].began
    if len(boots) < BOOTS or took_s > WITHIN_S or blade.joined:
        return ""
    return f"it boots again and again, {BOOTS} times in {max(1, round(took_s / 60))} min, and never got to the swarm"
