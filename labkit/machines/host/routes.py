"""This machine's routes, as ip-route(8) shows them."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def routes(*words: str) -> list[dict[str, Any]]:
    """The IPv4 routes that ``ip route show`` lists with these words, in the caller's network namespace; none where it
    cannot say."""
    command = ["ip", "-json", "-4", "route", "show", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout or "[]"))
