"""What reaches a terminal: a config of somebody else may hold what steers it. Elsewhere all is written as it is."""

from __future__ import annotations

import re
import unicodedata
from typing import BinaryIO, TextIO

_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")


def write(stream: TextIO, data: bytes, *, coloured: bool = False) -> None:
    """Write text to standard output or error: on a terminal without control and format characters, but for colours
    where they are ours.
    """
    binary: BinaryIO = stream.buffer
    binary.write(plain(data, coloured=coloured) if stream.isatty() else data)
    stream.flush()


def plain(data: bytes, *, coloured: bool = False) -> bytes:
    """Text with such characters written as JSON would; line breaks and tabs stay."""
    pieces = _COLOUR.split(data.decode("utf-8", "replace")) if coloured else [data.decode("utf-8", "replace")]
    return "".join(
        piece if number % 2 else "".join(map(_plain, piece.replace("\r\n", "\n")))
        for number, piece in enumerate(pieces)
    ).encode("utf-8", "replace")


def _plain(one: str) -> str:
    if one in "\n\t" or not unicodedata.category(one).startswith(("Cc", "Cf", "Zl", "Zp")):
        return one
    return "".join(f"\\u{unit:04x}" for unit in memoryview(one.encode("utf-16-le")).cast("H"))
