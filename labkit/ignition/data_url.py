"""data: URLs (RFC 2397): choosing an encoding, writing and reading them.

Butane offers each content percent-escaped, in base64, and gzipped in base64, and takes the shortest; `encode` decides
by the same rules. `check` says what is wrong with one in the words of the Go library that Ignition reads them with.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from urllib.parse import unquote_to_bytes

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
_ESCAPED = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_GZIP_HEAD = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 255))
_GZIP_PAYS_B = 12  # gzip's frame alone is longer than this, even with three characters for a byte
MAX_INFLATED_B = 256 << 20


def escape(data: bytes) -> str:
    """Percent-escape everything but RFC 2396's unreserved characters."""
    return "".join(map(_ESCAPED.__getitem__, data))


def encode(data: bytes, *, may_compress: bool = True) -> tuple[str, bool]:
    """The shortest data: URL for these bytes, and whether it holds them gzipped.

    Gzip costs four more bytes than base64, for the word in the config's ``compression``.
    """
    escaped_b = 1 + len(data) + 2 * len(data.translate(None, _UNRESERVED))
    plain_b = len(";base64,") + 4 * -(-len(data) // 3)
    if may_compress and len(data) > _GZIP_PAYS_B:
        packed, go_b = _gzip(data)
        if len(";base64,") + 4 * -(-go_b // 3) + len("gzip") < min(escaped_b, plain_b):
            return "data:;base64," + base64.b64encode(packed).decode(), True
    if plain_b < escaped_b:
        return "data:;base64," + base64.b64encode(data).decode(), False
    return "data:," + escape(data), False


def _gzip(data: bytes) -> tuple[bytes, int]:
    """The bytes gzipped, and the length they would have from Go, which closes with an empty stored block."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(data)
    frame_b = len(_GZIP_HEAD) + 8 + len(body)
    go_b = frame_b + len(deflater.copy().flush(zlib.Z_SYNC_FLUSH))
    body += deflater.flush()
    tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return _GZIP_HEAD + body + tail, go_b


def decode(url: str, compression: str = "") -> bytes:
    """The content of a data: URL, gunzipped if ``compression`` is ``gzip``. Raises ValueError if it is not one."""
    problem = check(url)
    if problem:
        raise ValueError(problem)
    head, _, body = url[len("data:") :].partition(",")
    content = base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
    return inflate(content) if compression == "gzip" else content


def inflate(data: bytes) -> bytes:
    """Gunzip, but no more than 256 MiB: a config must not fill the memory. Raises ValueError."""
    try:
        inflater = zlib.decompressobj(31)
        content = inflater.decompress(data, MAX_INFLATED_B)
        if inflater.unconsumed_tail:
            raise ValueError(f"content inflates to more than {MAX_INFLATED_B} bytes")
        if not inflater.eof:
            raise ValueError("gzip content is cut short")
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"not gzip: {error}") from None
    return content


_TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]"
_DISCRETE = ("text", "image", "audio", "video", "application", "message", "multipart")
_URL_CHARS = re.compile(r"[!$-;=?-Z_a-z~]*")
_BASE64_CHARS = re.compile(r"[A-Za-z0-9+/=\n]*")


def check(url: str) -> str | None:
    """What is wrong with a data: URL, None if nothing is."""
    if not url.startswith("data:"):
        return "missing data prefix"
    rest = url[len("data:") :]
    if not rest.startswith((";", ",")):
        problem, rest = _after_media_type(rest)
        if problem:
            return problem
    in_base64 = False
    while rest.startswith(";"):
        problem, rest, in_base64 = _after_parameter(rest[1:])
        if problem or in_base64:
            break
    else:
        problem = None
    if problem:
        return problem
    if not rest.startswith(","):
        return "missing comma before data" if not rest else "expected semicolon or comma"
    return _data_problem(rest[1:], in_base64)


def _after_media_type(text: str) -> tuple[str | None, str]:
    if not text:
        return "missing comma before data", ""
    if not re.match(_TOKEN, text):
        return "invalid character after data prefix", ""
    match = re.match(f"{_TOKEN}*", text)
    assert match
    kind, rest = match[0], text[match.end() :]
    extension = kind[:2] in ("x-", "X-")
    if kind in ("x", "X") and rest:  # the character after x is swallowed unseen
        match = re.match(f"{_TOKEN}*", rest[1:])
        assert match
        kind, rest = kind + rest[0] + match[0], rest[1 + match.end() :]
    if not rest:
        return "missing media type slash", ""
    if rest[0] != "/":
        return "invalid character for media type", ""
    if not extension and not kind.startswith(_DISCRETE):
        return "invalid media type", ""
    match = re.match(f"{_TOKEN}*", rest[1:])
    assert match
    rest = rest[1 + match.end() :]
    if not rest:
        return "incomplete media type", ""
    return (None, rest) if rest[0] in ";," else ("invalid character for media subtype", "")


def _after_parameter(text: str) -> tuple[str | None, str, bool]:
    """Reads ``name=value`` or ``base64``; returns the problem, what is left, and whether it was ``base64``."""
    match = re.match(f"{_TOKEN}*", text)
    assert match
    name, rest = match[0], text[match.end() :]
    if not rest or (not name and rest[0] in "=,"):
        return "unterminated parameter sequence", "", False
    if not name or rest[0] not in "=,":
        return "invalid character for parameter attribute", "", False
    if rest[0] == ",":
        return (None, rest, True) if name == "base64" else (f"expected base64, got {name}", "", False)
    if rest.startswith('="'):
        quoted = re.match(r'"((?:[^"\\\x80-\U0010ffff]|\\[\x00-\x7f])*)"', rest[1:])
        if not quoted:
            return ("unclosed quoted string" if rest.isascii() else "invalid character for parameter value"), "", False
        return None, rest[1 + quoted.end() :], False
    match = re.match(f"{_TOKEN}*", rest[1:])
    assert match
    value, rest = match[0], rest[1 + match.end() :]
    if not rest:
        return "missing comma before data", "", False
    if not value or rest[0] not in ";,":
        return "invalid character for parameter value", "", False
    return _escape_problem(value), rest, False


def _data_problem(data: str, in_base64: bool) -> str | None:
    chars = _BASE64_CHARS if in_base64 else _URL_CHARS
    if not chars.fullmatch(data):
        return "invalid data character"
    return base64_problem(data) if in_base64 else _escape_problem(data)


def _escape_problem(text: str) -> str | None:
    bad = re.search("%(?![0-9A-Fa-f]{2})", text) if "%" in text else None
    if not bad:
        return None
    tail = text[bad.end() : bad.end() + 2]
    if re.fullmatch("[0-9A-Fa-f]?", tail):
        return "rfc2396: unexpected end of unescape sequence"
    return "rfc2396: invalid char 0x25 in unescape sequence"


def base64_problem(text: str) -> str | None:
    """Where Go's decoder gives up on padded base64, None if it does not."""
    flat = text.replace("\n", "").replace("\r", "")
    if re.fullmatch("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", flat):
        return None
    return f"illegal base64 data at input byte {_base64_stop(text)}"


def _base64_stop(text: str) -> int:
    at, have, end = 0, 0, len(text)
    while at < end:
        char = text[at]
        at += 1
        if char in "\r\n":
            continue
        if char != "=":
            if not re.match("[A-Za-z0-9+/]", char):
                return at - 1
            have = (have + 1) % 4
            continue
        if have < 2:
            return at - 1
        if have == 2:
            while at < end and text[at] in "\r\n":
                at += 1
            if at == end:
                return end
            if text[at] != "=":
                return at - 1
            at += 1
        while at < end and text[at] in "\r\n":
            at += 1
        return at
    return end - have
