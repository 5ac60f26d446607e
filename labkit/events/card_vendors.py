"""Who made a network card, by the first three bytes of its address (IEEE 802, clause 8.2). PURE but for its own table.

The table holds the makers of what stands in racks and on desks, out of the tens of thousands that the IEEE lists
(https://standards-oui.ieee.org/oui/oui.txt); ``python -m tests.events.test_card_vendors oui.txt`` makes it anew.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

LOCAL = "locally administered"
"""An address that somebody made up, as those of virtual machines are: the second bit of its first byte is set."""


def vendor_of(mac: str) -> str:
    """The maker of a card, `LOCAL` for an address that is no maker's, or nothing for one who is not in the table."""
    prefix = mac.lower().replace(":", "")[:6]
    if len(prefix) == 6 and int(prefix[:2], 16) & 2:
        return LOCAL
    return _table().get(prefix, "")


@cache
def _table() -> dict[str, str]:
    lines = files("labkit.events").joinpath("card_vendors.txt").read_text(encoding="ascii").splitlines()
    rows = (line.partition(": ") for line in lines)
    return {prefix: name for name, _, prefixes in rows for prefix in prefixes.split()}
