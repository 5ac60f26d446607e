"""Text the way Go prints it: quoted strings (%q) and JSON."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {'"': '\\"', "\\": "\\\\"}
_HTML = re.compile("[<>&\u2028\u2029]")
_CONTROLS = {"b": "\\u0008", "f": "\\u000c"}
_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def quote(text: str) -> str:
    """Go's %q: double quotes, with everything that does not print escaped."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char == " " or (char.isprintable() and not char.isspace()):
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """JSON as Go's encoding/json writes it: ``<``, ``>`` and ``&`` escaped, other Unicode as it is."""
    text = json.dumps(
        value, ensure_ascii=False, indent=2 if pretty else None, separators=None if pretty else (",", ":")
    )
    if _HTML.search(text):
        text = _HTML.sub(lambda match: _JSON[match[0]], text)
    if "\\b" in text or "\\f" in text:
        text = re.sub(r"\\(.)", lambda match: _CONTROLS.get(match[1], match[0]), text)
    try:
        return text.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8 came in as lone surrogates
        return re.sub("[\ud800-\udfff]", "\\\\ufffd", text).encode()
