"""``./lab machines``: the machines that asked and are not in the lab file."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from labkit.cli.answers import find_state, lab_path
from labkit.events.card_vendors import vendor_of
from labkit.events.unknown_machines import Machine
from labkit.lab.lab_yaml.adopt import Source
from labkit.workbook import adoption, next_steps
from labkit.workbook.adoption import about, firmware, owner, unclaimed


def show(options: argparse.Namespace) -> int:
    """Print the machines, in the order in which they first asked."""
    heard = adoption.look(lab_path(options), find_state(options))
    found, source = heard.unknown, heard.source
    if options.json:
        print(json.dumps([_row(source, machine) for machine in found], indent=1))
    elif not found:
        print(adoption.NONE)
    else:
        print("\n".join(f"{' '.join(unclaimed(source, machine))}\n  {about(source, machine)}" for machine in found))
        print(f"\n{next_steps.after_machines(heard.new[0].macs[0])}" if heard.new else "")
    return 0


def _row(source: Source, machine: Machine) -> dict[str, Any]:
    row = {**asdict(machine), "macs": unclaimed(source, machine), "firmware": firmware(machine)}
    row["vendor"] = vendor_of(machine.macs[0])
    return {**row, "blade": owner(source, machine)}
