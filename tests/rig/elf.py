"""Programs of a few bytes, static, for x86-64: roots for tests hold nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

ADDRESS = 0x400000
HEADERS_B = 64 + 56
CRASH = bytes.fromhex("31c0 8b00")
"""``xor eax, eax; mov eax, [rax]``: a segmentation fault."""


def exits(status: int) -> bytes:
    """``exit(status)``."""
    return b"\xbf" + struct.pack("<I", status) + b"\xb8" + struct.pack("<I", 60) + b"\x0f\x05"


def says(text: str) -> bytes:
    """``write(2, text)``, and on."""
    data = text.encode()
    code = b"\xbf\x02\x00\x00\x00" + b"\x48\x8d\x35" + struct.pack("<i", 14)  # edi = 2; rsi = behind the jump
    code += (
        b"\xba" + struct.pack("<I", len(data)) + b"\xb8\x01\x00\x00\x00" + b"\x0f\x05" + b"\xeb" + bytes([len(data)])
    )
    return code + data


def write(path: Path, code: bytes) -> None:
    """Write an ELF file that runs ``code`` (elf(5): one header, one segment)."""
    size = HEADERS_B + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ADDRESS + HEADERS_B, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
