"""URLs the way Go's net/url reads and writes them, and which of them a spec version takes.

Sources: net/url of Go's standard library; config/v3_*/types/url.go of Ignition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from .. import data_url
from .quote import quote

_UNRESERVED = "A-Za-z0-9\\-_.~"
_SCHEME = re.compile("([A-Za-z][A-Za-z0-9+.-]*):")
_HOST = re.compile(f"(?:[{_UNRESERVED}!$&'()*+,;=:\\[\\]<>\"]|[^\x00-\x7f]|%25|%[89A-Fa-f][0-9A-Fa-f])*")
_USER = re.compile(f"[{_UNRESERVED}:!$&'()*+,;=%@]*")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_PATH_AS_IS = re.compile(f"[{_UNRESERVED}!$&'()*+,;=:@\\[\\]%/]*")
_ESCAPED_IN_PATH = re.compile(f"[^{_UNRESERVED}$&+,/:;=@]")
_ESCAPED_IN_FRAGMENT = re.compile(f"[^{_UNRESERVED}$&+,/:;=?@!()*]")


@dataclass(frozen=True)
class Url:
    """A parsed URL. ``path`` and ``fragment`` stay as they were written."""

    scheme: str = ""
    opaque: str = ""
    authority: str | None = None
    path: str = ""
    query: str | None = None
    fragment: str = ""

    def __str__(self) -> str:
        """The URL written anew: what may not stand in a path is escaped, a query is left alone."""
        text = self.scheme + ":" if self.scheme else ""
        if self.opaque:
            text += self.opaque
        else:
            if self.authority is not None and (self.scheme or self.authority):
                text += "//" + _escape_authority(self.authority)
            text += _escape_path(self.path)
        if self.query is not None:
            text += "?" + self.query
        if self.fragment:
            text += "#" + _escape(self.fragment, _ESCAPED_IN_FRAGMENT)
        return text


def problem(text: str) -> str | None:
    """What Go says of a URL that it cannot parse; None if it can."""
    if parse(text) is not None:
        return None
    return f"parse {quote(text)}: {_reason(text)}"


def _reason(text: str) -> str:
    if re.search("[\x00-\x1f\x7f]", text):
        return "net/url: invalid control character in URL"
    escape = re.search("%(?![0-9A-Fa-f]{2}).{0,2}", text)
    if escape:
        return f"invalid URL escape {quote(escape[0])}"
    if text.startswith(":"):
        return "missing protocol scheme"
    if _SCHEME.match(text) is None and ":" in re.split("[/?#]", text)[0]:
        return "first path segment in URL cannot contain colon"
    host = re.split("[/?#]", text.partition("//")[2])[0]
    user, at, host = host.rpartition("@")
    if at and not _USER.fullmatch(user):
        return "net/url: invalid userinfo"
    if host.startswith("["):
        rest = host.rpartition("]")
        return f"invalid port {quote(rest[2])} after host" if rest[1] else "missing ']' in host"
    port = host[host.rindex(":") :] if ":" in host else ""
    if port and not re.fullmatch(":[0-9]*", port):
        return f"invalid port {quote(port)} after host"
    bad = re.search(f"[^{_UNRESERVED}!$&'()*+,;=:\\[\\]<>\"\x80-\U0010ffff]", host)
    return f"invalid character {quote(bad[0] if bad else '')} in host name"


def parse(text: str) -> Url | None:
    """The URL's parts; None where Go's url.Parse fails."""
    if re.search("[\x00-\x1f\x7f]", text):
        return None
    rest, _, fragment = text.partition("#")
    if _BAD_ESCAPE.search(fragment):
        return None
    if rest.startswith(":"):
        return None
    found = _SCHEME.match(rest)
    scheme = found[1].lower() if found else ""
    rest = rest[found.end() :] if found else rest
    rest, mark, query_text = rest.partition("?")
    query = query_text if mark else None
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, opaque=rest, query=query, fragment=fragment)
        if ":" in rest.partition("/")[0]:
            return None
    authority = None
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        if not _authority_is_valid(authority):
            return None
    if _BAD_ESCAPE.search(rest):
        return None
    return Url(scheme, "", authority, rest, query, fragment)


def _authority_is_valid(authority: str) -> bool:
    user, at, host = authority.rpartition("@")
    if at and (not _USER.fullmatch(user) or _BAD_ESCAPE.search(user)):
        return False
    if host.startswith("["):
        address, bracket, port = host.rpartition("]")
        if not bracket or not re.fullmatch("(?::[0-9]*)?", port):
            return False
        name, zone_mark, zone = address.partition("%25")
        return bool(_HOST.fullmatch(name)) and not (zone_mark and _BAD_ESCAPE.search(zone))
    if ":" in host and not re.fullmatch(":[0-9]*", host[host.rindex(":") :]):
        return False
    return bool(_HOST.fullmatch(host))


def _escape(text: str, pattern: re.Pattern[str]) -> str:
    raw = unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    return "".join(f"%{byte:02X}" if pattern.match(chr(byte)) or byte > 127 else chr(byte) for byte in raw)


def _escape_path(path: str) -> str:
    return path if path == "*" or _PATH_AS_IS.fullmatch(path) else _escape(path, _ESCAPED_IN_PATH)


def _escape_authority(authority: str) -> str:
    return "".join(char if char.isascii() else _percent(char) for char in authority)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def version_id_is_empty(url: Url) -> bool:
    """Whether an S3 URL asks for a version but names none."""
    values = [value for name, value in parse_qsl(url.query or "", keep_blank_values=True) if name == "versionId"]
    return bool(values) and not values[0]


def check_source(text: str, minor: int) -> str | None:
    """What spec 3.``minor`` has against a source URL, None if nothing."""
    url = parse(text)
    if url is None:
        return "unable to parse url"
    if url.scheme in ("http", "https", "tftp") or (url.scheme == "gs" and minor >= 2):
        return None
    if url.scheme == "data":
        return data_url.check(text)
    if url.scheme == "s3":
        return "invalid S3 object VersionId" if version_id_is_empty(url) else None
    if url.scheme == "arn" and minor >= 4:
        return _check_arn(url)
    return "invalid url scheme"


def _check_arn(url: Url) -> str | None:
    text = "arn:" + url.opaque
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[2] != "s3":
        return "invalid S3 ARN format"
    if text.count("/") < (2 if parts[5].startswith("accesspoint/") else 1):
        return "invalid S3 ARN format"
    return "invalid S3 object VersionId" if version_id_is_empty(url) else None
