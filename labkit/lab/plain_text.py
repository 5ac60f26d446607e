"""Words from outside as plain text: a host name, a path, what a container wrote, what a BMC calls itself.

They may hold anything. A sink is where such words come to be read, and each makes them safe at one place of its own:

- standard output and error, and the logs they go to: `Plain`, which `labkit.lab.process.faults` puts in front of both;
- HTML and SVG, so notebooks and reports: `labkit.pictures.svg.esc`;
- scripts of loaders: `labkit.boot.artifacts.text.screen_line`, and for arguments `labkit.lab.lab_yaml.values.argument`;
- the numbers for Prometheus: `labkit.netboot.metrics`;
- JSON escapes by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_c])")
"""A control sequence (ECMA-48): colours, the cursor, the window's title."""
_BYTES = re.compile("[\udc80-\udcff]{2,}")
"""Bytes that each were no UTF-8 (PEP 383), and may be beside each other."""
_BLANK = "\n\t"


def harmless(words: str) -> str:
    """Words of which nothing steers a terminal or turns the direction of writing; their line breaks and tabs stay.

    Control and format characters, such as ESC, C1's CSI and U+202E, are written as JSON would: JSON stays what it was.
    """
    if words.replace("\n", "").replace("\t", "").isprintable():
        return words
    whole = _BYTES.sub(lambda found: _decoded(found[0].encode("utf-8", "surrogateescape")), words)
    return "".join(one if _is_harmless(one) else _escaped(one) for one in whole.replace("\r\n", "\n"))


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _is_harmless(one: str) -> bool:
    if one.isprintable() or one in _BLANK or "\udca0" <= one <= "\udcff":  # the last: a byte of a file's name
        return True
    return unicodedata.category(one) in ("Zs", "Co", "Cn")


def _escaped(one: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(one.encode("utf-16-le", "surrogatepass")).cast("H"))


def printable(said: str) -> str:
    """What a terminal was sent, without its control sequences, carriage returns and all that cannot be printed."""
    text = _SEQUENCE.sub("", said).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in text if letter in _BLANK or letter.isprintable())


def letters(words: str, most: int) -> str:
    """What can be printed of the first ``most`` letters of words that belong on one line."""
    return "".join(letter for letter in words[:most] if letter.isprintable())


def shown(words: str) -> str:
    """Words on one line, without control sequences.

    Whatever else cannot be printed, a carriage return or a mark that turns the direction of writing, is shown as Python
    writes it, such as ``\\r``.
    """
    plain = _SEQUENCE.sub("", words).rstrip("\r")
    return "".join(one if one == "\t" or one.isprintable() else ascii(one)[1:-1] for one in plain)


TERMINATORS = ("||", "&&", ";")


def is_loaders(word: str) -> bool:
    """Whether iPXE takes a word for its own language: it expands ``${…}``, and a word that is ``||``, ``&&`` or ``;``
    or begins with ``#`` ends its command (``command_terminator`` in its exec.c).
    """
    return word in TERMINATORS or word.startswith("#") or "${" in word


def one_line(words: str) -> str:
    """`shown`, with a blank for each line break: a sentence that somebody wrote in several lines stays one."""
    return shown(words.replace("\r\n", " ").replace("\n", " "))


class Plain:
    """A text stream into which all words go `harmless`. ``raw`` is the one behind it, for who steers a terminal."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, words: str) -> int:
        self.raw.write(harmless(words))
        return len(words)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw(stream: TextIO) -> TextIO:
    """The stream behind a `Plain` one, or the stream itself."""
    return stream.raw if isinstance(stream, Plain) else stream
