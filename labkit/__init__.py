"""labkit: a lab of network-booted blades as one description, one server and one stream of events.

Start with `labkit.labfile` (reading ``lab.yaml``), `labkit.plan` (what one blade boots) and `labkit.events`
(what happened). The command line is `labkit.cli`.
"""

from __future__ import annotations

__version__ = "0.1.0"
