"""What publishers say of a release: Flatcar's ``version.txt`` and ``.DIGESTS``, Fedora CoreOS's JSON. PURE.

Sources: the release folders of Flatcar (https://www.flatcar.org/docs/latest/installing/community-platforms/), and
Fedora CoreOS's stream and release metadata (https://docs.fedoraproject.org/en-US/fedora-coreos/stream-metadata/;
https://github.com/coreos/stream-metadata-go has the types).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.errors import ImageError
from labkit.images.releases.publishers import WORD, Publisher

PARTS = ("kernel", "initramfs", "rootfs")
"""What a release is booted with, in this order; Flatcar has the first two."""

LENGTHS = {"sha256": 64, "sha512": 128}

PAGE = "this is a web page and no release: something on the way answers in the server's place, such as a captive portal"
PAGE_FIX = "log in to that network with a browser, or set images: proxy in lab.yaml; then try again"


@dataclass(frozen=True)
class Published:
    """One file of a release. ``algorithm`` and ``digest`` (hexadecimal) are empty where only a signature was given."""

    name: str
    url: str
    signature_url: str
    algorithm: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Release:
    """A release that can be fetched. ``arch`` is Debian's word; ``files`` are in the order of `PARTS`."""

    system: Publisher
    version: str
    channel: str
    arch: str
    files: tuple[Published, ...]

    @property
    def label(self) -> str:
        """What its folder is called: the version, and for other processors than amd64 these as well."""
        return label(self.version, self.arch)


def label(version: str, arch: str) -> str:
    """A release's name in the cache: two architectures of one version have to lie side by side."""
    return version if arch == "amd64" else f"{version}-{arch}"


def is_page(head: bytes) -> bool:
    """Whether bytes are the beginning of an HTML page, whatever they were called."""
    return bool(re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|script|meta)\b", head[:512], re.I))


def read_version_txt(text: str, system: Publisher, where: str) -> str:
    """The version in a ``version.txt``: lines ``NAME=value``, the value perhaps in quotes. Raises ImageError."""
    _no_page(text, where)
    found = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?\s*$', text, re.M))
    for key in system.version_keys:
        version = str(found.get(key, "")).strip()
        if WORD.fullmatch(version) and ".." not in version:
            return version
    raise ImageError(
        f"this is no version.txt of {system.title}: it has no line {system.version_keys[0]}=",
        where=where,
        fix="see with a browser what is there; if it is a mirror, images: mirror in lab.yaml leads to another place",
    )


def read_digests(text: str, name: str, where: str) -> tuple[str, str]:
    """The strongest sum of a file in a ``.DIGESTS``, as ``(algorithm, digest)``. Raises ImageError.

    Sections begin with ``# SHA512 HASH`` or the like; the lines are those of sha512sum(1).
    """
    _no_page(text, where)
    sums: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9A-Fa-f]{64,128})\s+\*?(\S+)", line.strip())
        if match and match[2].rpartition("/")[2] == name:
            sums |= {kind: match[1].lower() for kind, length in LENGTHS.items() if len(match[1]) == length}
    for algorithm in ("sha512", "sha256"):
        if algorithm in sums:
            return algorithm, sums[algorithm]
    what = f"it has neither a SHA-512 nor a SHA-256 of {name}"
    raise ImageError(what, where=where, fix="take the file of the release")


def read_stream(text: str, system: Publisher, channel: str, arch: str, where: str) -> Release:
    """What a stream's JSON has for one processor. Raises ImageError."""
    metal = _dig(_json(text, where), where, "architectures", _word(system, arch), "artifacts", "metal")
    pxe = _dig(metal, where, "formats", "pxe")
    return _release(system, metal.get("release"), channel, arch, pxe, where)


def read_release(text: str, system: Publisher, channel: str, arch: str, where: str) -> Release:
    """What the JSON of one build has for one processor. Raises ImageError."""
    whole = _json(text, where)
    pxe = _dig(whole, where, "architectures", _word(system, arch), "media", "metal", "artifacts", "pxe")
    return _release(system, whole.get("release"), channel, arch, pxe, where)


def build_in_name(name: str) -> tuple[str, str, str] | None:
    """Version, part and processor in the name of a file of Fedora CoreOS; None for another file.

    ``fedora-coreos-43.20251110.3.1-live-kernel.x86_64``, in older releases ``…-live-kernel-x86_64``.
    """
    match = re.fullmatch(r"fedora-coreos-([0-9][0-9.dev]*)-live-(kernel|initramfs|rootfs)[.-](\w+?)(\.img)?", name)
    return (match[1], match[2], match[3]) if match else None


def check_builds(release: Release, where: str) -> None:
    """Raise ImageError when names of a release tell of different builds."""
    builds = {found[0]: file.name for file in release.files if (found := build_in_name(file.name))}
    if set(builds) - {release.version}:
        raise mixed([f"{name} is of {version}" for version, name in builds.items()], release.version, where)


def mixed(facts: Sequence[str], version: str, where: str) -> ImageError:
    """The error for files of different builds."""
    return ImageError(
        f"kernel, initramfs and root are not of one build, {version}: {'; '.join(facts)}",
        where=where,
        fix="take all files from the folder of one release; a system of two builds does not boot",
    )


def _release(
    system: Publisher, version: object, channel: str, arch: str, pxe: Mapping[str, Any], where: str
) -> Release:
    if not (isinstance(version, str) and WORD.fullmatch(version) and ".." not in version):
        raise ImageError("it does not say which release it is of", where=where, fix=_SEE)
    files = []
    for part in PARTS:
        entry = _dig(pxe, where, part)
        url, digest = str(entry.get("location", "")), str(entry.get("sha256", "")).lower()
        name = url.rpartition("/")[2]
        if not WORD.fullmatch(name) or not re.fullmatch(r"https?://\S+", url):
            raise ImageError(f"its {part} has no location", where=where, fix=_SEE)
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ImageError(f"its {part} has no SHA-256", where=where, fix=_SEE)
        files.append(Published(name, url, str(entry.get("signature") or f"{url}.sig"), "sha256", digest))
    release = Release(system, version, channel, arch, tuple(files))
    check_builds(release, where)
    return release


_SEE = "see with a browser what is there; a mirror may have it half"


def _json(text: str, where: str) -> dict[str, Any]:
    _no_page(text, where)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ImageError("this is not JSON that describes a release", where=where, fix=_SEE)
    return value


def _dig(value: Mapping[str, Any], where: str, *keys: str) -> dict[str, Any]:
    """The mapping below some keys. Raises ImageError that names the one that is missing."""
    found: Any = value
    for number, key in enumerate(keys, start=1):
        found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            there = ".".join(keys[:number])
            raise ImageError(f"it has no {there}: there is no PXE image in it for this", where=where, fix=_SEE)
    return dict(found)


def _word(system: Publisher, arch: str) -> str:
    return system.arches[arch]


def _no_page(text: str, where: str) -> None:
    if is_page(text.encode("utf-8", "replace")[:512]):
        raise ImageError(PAGE, where=where, fix=PAGE_FIX)
