"""``python -m labkit`` is ``labkit``."""

import sys

from labkit.cli.commands import main

sys.exit(main())
