"""systemd unit files: read as go-systemd reads them (with its errors), and names escaped as systemd-escape does.

Source: unit/deserialize.go and unit/escape.go of coreos/go-systemd v22; systemd.syntax(7), systemd-escape(1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .golang.quote import quote as quote  # rules quote names as this does

LINE_MAX_B = 2048
_BUFFER_B = 4096  # go-systemd looks for a line end only in what its buffer holds

UNIT_SUFFIXES = frozenset(
    {".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice"}
    | {".snapshot", ".scope"}
)


@dataclass(frozen=True)
class Option:
    section: str
    name: str
    value: str


@lru_cache(maxsize=256)
def parse(text: str, *, shows_bytes: bool = False) -> tuple[tuple[Option, ...], str | None]:
    """The options of a unit file, and what go-systemd stops at (None if it reads it all).

    ``shows_bytes``: the message about text behind a section's name gives it in numbers, as old go-systemd did.
    """
    reader = _Reader(text.encode("utf-8", "surrogateescape"), shows_bytes)
    try:
        reader.read()
    except _BadUnit as error:
        return tuple(reader.options), str(error)
    return tuple(reader.options), None


def suffix(name: str) -> str:
    """From the last dot of the last part of a name on: ``.service``; empty without one."""
    last = name.rpartition("/")[2]
    return last[last.rindex(".") :] if "." in last else ""


def escape_path(path: str) -> str:
    """As ``systemd-escape --path``: ``/var/lib/my-data`` becomes ``var-lib-my\\\\x2ddata``."""
    parts = [part for part in path.encode("utf-8", "surrogateescape").split(b"/") if part]
    text = b"-".join(re.sub(rb"[^:_.A-Za-z0-9]", lambda match: b"\\x%x" % match[0][0], part) for part in parts)
    if text.startswith(b"."):
        text = b"\\x2e" + text[1:]
    return text.decode() or "-"


class _BadUnit(Exception):
    pass


class _Reader:
    """A lexer over bytes. The order of its checks decides which error is reported, so it follows go-systemd's."""

    def __init__(self, data: bytes, shows_bytes: bool) -> None:
        self.data = data
        self.shows_bytes = shows_bytes
        self.at = 0
        self.options: list[Option] = []
        self._filled = 0

    def read(self) -> None:
        section: str | None = None
        while True:
            self._check_line()
            if self.at >= len(self.data):
                return
            char = self.data[self.at : self.at + 1]
            if char == b"[":
                self.at += 1
                section = self._section()
            elif char in b"#;":
                self.at += 1
                self._skip_comment()
            elif section is None:
                self.at += 1
            elif self._skip_space():
                continue
            else:
                self._option(section)

    def _check_line(self) -> None:
        """A line must end within 2048 bytes, looked at where the reader has that much in its buffer."""
        buffered = self._buffered()
        if buffered >= LINE_MAX_B:
            ahead = self.data[self.at : self.at + LINE_MAX_B]
            if b"\n" not in ahead and b"\r" not in ahead:
                raise _BadUnit(f"line too long (max {LINE_MAX_B} bytes)")

    def _buffered(self) -> int:
        """What bufio holds: it refills 4096 bytes only once it has nothing left."""
        if self.at == 0:
            return 0
        if self.at > self._filled or self._filled == 0:
            self._filled = min(-(-self.at // _BUFFER_B) * _BUFFER_B, len(self.data))
        return self._filled - self.at

    def _line(self) -> tuple[bytes, bool]:
        end = self.data.find(b"\n", self.at)
        at_end = end < 0
        line = self.data[self.at : None if at_end else end + 1]
        self.at = len(self.data) if at_end else end + 1
        return line.removesuffix(b"\r").removesuffix(b"\n"), at_end

    def _section(self) -> str:
        self._check_line()
        end = self.data.find(b"]", self.at)
        if end < 0:
            raise _BadUnit("unable to find end of section")
        name = self.data[self.at : end]
        self.at = end + 1
        self._check_line()
        garbage = self._line()[0].strip(_SPACE)
        if garbage:
            shown = f"[{' '.join(map(str, garbage))}]" if self.shows_bytes else quote(_text(garbage))
            raise _BadUnit(f"found garbage after section name : {shown}")
        return _text(name)

    def _skip_comment(self) -> None:
        self._check_line()
        while True:
            line, at_end = self._line()
            if not line.removesuffix(b" ").endswith(b"\\") or (at_end and not line):
                return
            if at_end:
                return

    def _skip_space(self) -> bool:
        match = _LEADING_SPACE.match(self.data, self.at)
        if match:
            self.at = match.end()
        return bool(match)

    def _option(self, section: str) -> None:
        self._check_line()
        match = re.compile(rb"[^=\r\n]*").match(self.data, self.at)
        assert match
        name, self.at = match[0], match.end()
        if self.at >= len(self.data):
            raise _BadUnit("EOF")
        if self.data[self.at : self.at + 1] != b"=":
            raise _BadUnit("unexpected newline encountered while parsing option name")
        self.at += 1
        value = b""
        while True:
            self._check_line()
            line, at_end = self._line()
            if line.strip(_SPACE):
                value += line
                if line.endswith(b"\\"):
                    value += b"" if at_end else b"\n"
                    continue
            break
        kept = b"\n" if value.endswith(b"\n") else b""
        text = _text(value.strip(_SPACE) + kept)
        self.options.append(Option(section, _text(name.strip(_SPACE)), text))


_SPACE = b" \t\n\v\f\r\x85\xa0"
_LEADING_SPACE = re.compile(
    "[ \t\n\v\f\r]|\u0085|\u00a0|\u1680|[\u2000-\u200a]|\u2028|\u2029|\u202f|\u205f|\u3000".encode()
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
