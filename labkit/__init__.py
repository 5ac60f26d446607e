"""labkit: a lab of network-booted blades as one description, one server and one stream of events.

Start with `labkit.lab.lab_yaml` (reading ``lab.yaml``), `labkit.boot` (what one blade boots) and `labkit.events`
(what happened). The command line is `labkit.cli.commands`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if os.geteuid() == 0 and Path(__file__).stat().st_uid != 0:
    sys.dont_write_bytecode = True  # we are root in somebody's checkout, where nothing of root's is to be left

__version__ = "0.1.0"
