"""What part of a file a GET asks for, if any: ranges and conditions (RFC 9110 sections 13 and 14).

A pure function of the request's headers and of what the file is now. One range at a time: what asks for several, or in
a unit or a form that is not understood, gets the whole file, as the RFC allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
RANGE = re.compile(r"bytes=[ \t]*(\d{0,99})-(\d{0,99})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class Version:
    """A file as it is now. ``etag`` is without quotes and strong: other bytes, another tag; ``modified_s`` is whole
    seconds since the epoch, None for what is made when it is asked for.
    """

    size_b: int
    etag: str
    modified_s: int | None = None


@dataclass(frozen=True)
class Selection:
    """The answer: a status, the bytes that belong to it, and its headers.

    200 and 206 come with a body; 304, 412 and 416 without.
    """

    status: int
    start: int
    length: int
    headers: Mapping[str, str]


def select(method: str, headers: Mapping[str, str], version: Version) -> Selection:
    """The answer to a GET or HEAD. The names of ``headers`` have to compare without case."""
    told = {"ETag": f'"{version.etag}"', "Accept-Ranges": "bytes"}
    if version.modified_s is not None:
        told["Last-Modified"] = date(version.modified_s)
    status = _condition(headers, version)
    if status:
        return Selection(status, 0, 0, told)
    whole = Selection(200, 0, version.size_b, told)
    if method != "GET" or "Range" not in headers or not _is_same(headers.get("If-Range"), version):
        return whole
    found = _range(headers["Range"], version.size_b)
    if found is None:
        return whole
    start, length = found
    if length <= 0:
        return Selection(416, 0, 0, {**told, "Content-Range": f"bytes */{version.size_b}"})
    shown = f"bytes {start}-{start + length - 1}/{version.size_b}"
    return Selection(206, start, length, {**told, "Content-Range": shown})


@lru_cache(maxsize=64)
def date(seconds: int) -> str:
    """Seconds since the epoch as an HTTP date."""
    return formatdate(seconds, usegmt=True)


def _condition(headers: Mapping[str, str], version: Version) -> int:
    """The status that a condition calls for, 0 where none stands in the way; in the order of section 13.2.2."""
    modified_s = version.modified_s
    if "If-Match" in headers:
        if not _matches(headers["If-Match"], version.etag, weak=False):
            return 412
    else:
        since_s = _seconds(headers.get("If-Unmodified-Since"))
        if since_s is not None and modified_s is not None and modified_s > since_s:
            return 412
    if "If-None-Match" in headers:
        return 304 if _matches(headers["If-None-Match"], version.etag, weak=True) else 0
    since_s = _seconds(headers.get("If-Modified-Since"))
    return 304 if since_s is not None and modified_s is not None and modified_s <= since_s else 0


def _matches(listed: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of tags holds ours; a weak one counts only where ``weak`` ones do (section 8.8.3.2)."""
    if listed.strip() == "*":
        return True
    return any(found[2] == etag and (weak or not found[1]) for found in TAG.finditer(listed))


def _is_same(condition: str | None, version: Version) -> bool:
    """If-Range: whether the client's part is of this very version, by its tag or the exact date (section 13.1.5)."""
    if condition is None:
        return True
    if '"' in condition:
        return _matches(condition, version.etag, weak=False)
    return version.modified_s is not None and _seconds(condition) == version.modified_s


def _range(text: str, size_b: int) -> tuple[int, int] | None:
    """Start and length of a range, the length 0 where no byte of it exists; None for what is to be ignored."""
    found = RANGE.fullmatch(text)
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        length = min(int(found[2]), size_b)
        return size_b - length, length
    first = int(found[1])
    last = int(found[2]) if found[2] else size_b - 1
    if found[2] and last < first:
        return None
    return first, max(min(last, size_b - 1) - first + 1, 0)


def _seconds(date: str | None) -> int | None:
    """An HTTP date as seconds since the epoch; None without one, or for one that is none."""
    try:
        return int(parsedate_to_datetime(date).timestamp()) if date else None
    except (ValueError, OverflowError):
        return None
