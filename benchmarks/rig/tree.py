"""The files of one boot of a lab's first blade, written out for servers that only know files.

``python tree.py LAB STATE TREE``: everything that is rendered goes below TREE, where the images lie already.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labkit.boot import Rendered
from labkit.lab import lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.netboot import plans


def main() -> None:
    lab, state, tree = lab_yaml.load(Path(sys.argv[1])), State(Path(sys.argv[2])), Path(sys.argv[3])
    _, shelf = plans.prepare(lab, state, lab.blades[0], "00000000", Secret("0" * 64))
    for name, resource in shelf.items():
        if isinstance(resource, Rendered):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(resource.content)


if __name__ == "__main__":
    main()
