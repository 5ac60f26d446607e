"""Files over HTTP: small ones whole, large ones so that a download that was cut off goes on where it was.

A file that is not all there lies as ``NAME.part``, and beside it, in ``NAME.part.json``, of which URL and which entity
tag it is the beginning: the next call asks for the rest with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and
14.2), so that a server with another file by now sends that from its first byte.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import requests
import urllib3

from labkit.errors import FileError, ImageError
from labkit.images.releases.metadata import PAGE, PAGE_FIX, is_page
from labkit.images.store import Progress

CHUNK_B = 1 << 18
SMALL_B = 4 << 20
LEAST_BPS = 1000
"""Slower than this, over the whole of the stall limit, is not a download."""
PART, NOTE = ".part", ".part.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
AGAIN = "run the same command again: it goes on where it was"


@dataclass(frozen=True)
class Limits:
    """How long to wait for a connection, how long for nothing to arrive, how often to be sent elsewhere."""

    connect_s: float = 15.0
    stall_s: float = 30.0
    redirects: int = 5


class AbsentError(ImageError):
    """The server has no such file."""


class Client:
    """Fetches from publishers. ``proxy`` is a URL, or empty for what the environment says (``https_proxy``)."""

    def __init__(self, *, proxy: str = "", limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._session = requests.Session()
        self._session.max_redirects = self.limits.redirects
        self._session.headers["Accept-Encoding"] = "identity"  # what is signed and summed is the bytes as published
        self._session.headers["Connection"] = "close"
        if proxy:
            self._session.trust_env = False
            self._session.proxies = {"http": proxy, "https": proxy}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def small(self, url: str) -> bytes:
        """A small file. Raises ImageError; AbsentError where the server has none."""
        with self._get(url, {}) as answer:
            _check_status(url, answer)
            body = bytearray()
            for chunk in self._chunks(url, answer, 0, _length(answer)):
                body += chunk
                if len(body) > SMALL_B:
                    what = f"it is larger than {SMALL_B >> 20} MiB, which no file of this kind is"
                    raise ImageError(what, where=url, fix=f"see with a browser what is there; {_ELSEWHERE}")
        if is_page(bytes(body[:512])):
            raise ImageError(PAGE, where=url, fix=PAGE_FIX)
        return bytes(body)

    def file(self, url: str, target: Path, progress: Progress) -> None:
        """A large file, at ``target`` when all of it is there. Raises ImageError; what has come stays for next time."""
        part, note = target.with_name(target.name + PART), target.with_name(target.name + NOTE)
        try:
            self._fetch(url, part, note, progress)
            part.rename(target)
            note.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in FULL:
                raise FileError.of(error, part) from None
            raise _full(part) from None

    def _fetch(self, url: str, part: Path, note: Path, progress: Progress) -> None:
        begun, tag = _begun(url, part, note)
        with self._get(url, {"Range": f"bytes={begun}-", "If-Range": tag} if begun else {}) as answer:
            place = answer.headers.get("Content-Range", "")
            if begun and answer.status_code == 416 and place == f"bytes */{begun}":
                return  # we were stopped between the last byte and the name
            is_rest = answer.status_code == 206 and place.startswith(f"bytes {begun}-")
            if begun and answer.status_code in (206, 416) and not is_rest:
                note.unlink()  # this is not the rest of what was begun
                self._fetch(url, part, note, progress)
                return
            _check_status(url, answer)
            if answer.status_code != 206:
                begun = 0
            rest = _length(answer)
            note.write_text(json.dumps({"url": url, "etag": answer.headers.get("ETag", "")}))
            with part.open("ab" if begun else "wb") as file:
                if rest is not None and shutil.disk_usage(part.parent).free < rest:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._pour(url, answer, file, begun, None if rest is None else begun + rest, progress)
                os.fsync(file.fileno())

    def _pour(
        self, url: str, answer: requests.Response, file: IO[bytes], size: int, whole: int | None, progress: Progress
    ) -> None:
        name, told = url.rpartition("/")[2], -1
        for chunk in self._chunks(url, answer, size, whole):
            if not size and is_page(chunk):
                raise ImageError(PAGE, where=url, fix=PAGE_FIX)
            file.write(chunk)
            file.flush()  # what has arrived is there even when we are killed
            size += len(chunk)
            tenth = size * 10 // whole if whole else size >> 26
            if tenth > told:
                told = tenth
                progress(f"{name}: {size / 2**20:.0f}{f' of {whole / 2**20:.0f}' if whole else ''} MiB")

    def _chunks(self, url: str, answer: requests.Response, size: int, whole: int | None) -> Iterator[bytes]:
        """What arrives after ``size`` bytes, as it does. Raises ImageError where that ends early, or is a trickle."""
        since, count = time.monotonic(), 0
        while chunk := self._read(url, answer, size, whole):
            yield chunk
            size, count, now = size + len(chunk), count + len(chunk), time.monotonic()
            if now - since > self.limits.stall_s:
                if count < LEAST_BPS * self.limits.stall_s:
                    raise self._stalled(url, size)
                since, count = now, 0
        if whole is not None and size < whole:
            raise _cut(url, size, whole)

    def _read(self, url: str, answer: requests.Response, size: int, whole: int | None) -> bytes:
        try:
            return bytes(answer.raw.read1(CHUNK_B, decode_content=False))
        except urllib3.exceptions.ReadTimeoutError:
            raise self._stalled(url, size) from None
        except urllib3.exceptions.HTTPError:
            raise _cut(url, size, whole) from None

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        timeout = (self.limits.connect_s, self.limits.stall_s)
        self._session.close()  # no connection is used twice: between two files a server may hang up just as we ask
        try:
            return self._session.get(url, headers=headers, stream=True, timeout=timeout)
        except requests.TooManyRedirects:
            what = f"the server sends us from one address to the next, more than {self.limits.redirects} times"
            fix = f"see with a browser where it ends; {_ELSEWHERE}"
            raise ImageError(what, where=url, fix=fix) from None
        except requests.Timeout:
            raise self._stalled(url, 0) from None
        except requests.exceptions.ProxyError as error:
            raise ImageError(f"the proxy does not take us there ({_reason(error)})", where=url, fix=_PROXY) from None
        except requests.exceptions.SSLError as error:
            fix = "is this machine's clock right? A proxy that looks inside needs its authority among ca-certificates"
            raise ImageError(f"its certificate is not trusted ({_reason(error)})", where=url, fix=fix) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise ImageError(f"it cannot be reached ({_reason(error)})", where=url, fix=_PROXY) from None

    def _stalled(self, url: str, size: int) -> ImageError:
        what = f"nothing has come from the server for {self.limits.stall_s:g} s"
        return ImageError(f"{what}, after {size} bytes" if size else what, where=url, fix=AGAIN)


_ELSEWHERE = "images: mirror in lab.yaml names another server"
_PROXY = (
    "check the network; behind a proxy set images: proxy in lab.yaml, or https_proxy. Without internet: images import"
)


def remove_parts(target: Path) -> None:
    """Forget what was begun of a file, and the file."""
    for path in (target, target.with_name(target.name + PART), target.with_name(target.name + NOTE)):
        path.unlink(missing_ok=True)


def _begun(url: str, part: Path, note: Path) -> tuple[int, str]:
    """How many bytes of this very URL are there, and the tag they had; 0 where they are of no use."""
    try:
        known, size = json.loads(note.read_text()), part.stat().st_size
        tag = str(known["etag"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    # a weak tag does not say that the bytes are the same (RFC 9110, section 8.8.1)
    return (size, tag) if known.get("url") == url and re.fullmatch(r'"[^"]*"', tag) else (0, "")


def _length(answer: requests.Response) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return int(said) if said.isascii() and said.isdigit() else None


def _check_status(url: str, answer: requests.Response) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    if status in (404, 410):
        fix = "is the version right, and published?"
        raise AbsentError(f"the server has no such file ({status})", where=url, fix=fix)
    _refuse(url, status, answer.reason or "")


def _refuse(url: str, status: int, reason: str) -> NoReturn:
    fix = f"try again later; {_ELSEWHERE}"
    if status in (401, 403, 407, 511):
        fix = "something on the way wants to know who you are: a proxy (images: proxy) or a captive portal (a browser)"
    raise ImageError(f"the server answers {status} {reason}".rstrip(), where=url, fix=fix)


def _cut(url: str, size: int, whole: int | None) -> ImageError:
    of = f" of {whole}" if whole is not None else ""
    return ImageError(f"the connection ended after {size}{of} bytes", where=url, fix=AGAIN)


def _full(part: Path) -> ImageError:
    size = part.stat().st_size if part.exists() else 0
    return ImageError(
        f"the disk is full, or a limit on file sizes (ulimit -f) is reached: {size} bytes of "
        f"{part.name.removesuffix(PART)} are there",
        where=str(part.parent),
        fix=f"free some space there, or set LABKIT_CACHE to a folder on another disk; then {AGAIN}",
    )


def _reason(error: BaseException) -> str:
    """The innermost of the exceptions that libraries wrap around each other, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            text = str(inner if isinstance(inner, str) else error)
            return re.sub(r"<[^>]*>:? ?", "", text).strip() or type(error).__name__
        error = inner
