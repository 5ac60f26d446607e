"""Lab files for tests, and all that is said of one with mistakes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import lab_yaml

LAB = "blades:\n  - name: a\n"


def public_key(kind: str = "ssh-ed25519", comment: str = "you@home") -> str:
    blob = len(kind).to_bytes(4) + kind.encode() + (32).to_bytes(4) + bytes(range(32))
    return f"{kind} {base64.b64encode(blob).decode()} {comment}"


def real(extra: str = "") -> str:
    """A lab of real blades: the least it has to say, on lines 1 to 12."""
    return f"""\
network:
  kind: interface
  interface: eth1
  subnet: 10.0.40.0/24
  server: 10.0.40.2
bmc:
  password_file: secret
blades:
  - name: red1
    macs: [00:00:5e:00:53:10]
    bmc:
      address: 10.0.40.201
{extra}"""


def mistakes(text: str | bytes, tmp_path: Path) -> list[tuple[int, int, str, str]]:
    path = tmp_path / "lab.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LabFileError) as caught:
        lab_yaml.load(path)
    assert all(mistake.fix for mistake in caught.value.mistakes)
    return [(m.line, m.column, m.what, m.fix) for m in caught.value.mistakes]
