"""The systems whose releases can be had: where they are published, under which names, and by whose key. PURE.

Flatcar: https://www.flatcar.org/docs/latest/installing/bare-metal/booting-with-pxe/ and, for the key,
https://www.flatcar.org/security/image-signing-key/. Fedora CoreOS:
https://docs.fedoraproject.org/en-US/fedora-coreos/bare-metal/ and https://fedoraproject.org/security/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labkit.errors import ParameterError

LATEST = "latest"
"""The word for whatever a channel has now; what is kept has a version."""

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""Versions, channels and published names: each becomes a part of a path and of a URL."""


@dataclass(frozen=True)
class Publisher:
    """Who publishes a system, and how. ``name`` is the system in ``lab.yaml``, ``title`` in messages.

    ``base`` is the URL it is published below, without a slash at its end; ``{channel}`` in it stands for the channel.
    ``files`` are the names of kernel and initrd where they are the same in every release. ``arches`` has the
    publisher's word for each of Debian's. ``fingerprints`` are those of the primary keys that may sign a release, and
    ``key_url`` is where their owner publishes them. A ``version.txt`` has the version in one of ``version_keys``.
    """

    name: str
    title: str
    base: str
    arches: Mapping[str, str]
    fingerprints: frozenset[str]
    channels: tuple[str, ...] = ()
    key_url: str = ""
    files: tuple[str, ...] = ()
    version_keys: tuple[str, ...] = ()


FLATCAR = Publisher(
    name="flatcar",
    title="Flatcar",
    base="https://{channel}.release.flatcar-linux.net",
    channels=("stable", "beta", "alpha", "lts"),
    arches={"amd64": "amd64-usr", "arm64": "arm64-usr"},
    # Flatcar Buildbot (Official Builds), the primary key; it signs with subkeys that change every year
    fingerprints=frozenset({"F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"}),
    key_url="https://www.flatcar.org/security/image-signing-key/Flatcar_Image_Signing_Key.asc",
    files=("flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz"),
    version_keys=("FLATCAR_VERSION", "COREOS_VERSION"),
)

FEDORA_COREOS = Publisher(
    name="fedora-coreos",
    title="Fedora CoreOS",
    base="https://builds.coreos.fedoraproject.org",
    channels=("stable", "testing", "next"),
    arches={"amd64": "x86_64", "arm64": "aarch64"},
    fingerprints=frozenset(
        {
            "466CF2D8B60BC3057AA9453ED0622462E99D6AD1",  # Fedora 41
            "B0F4950458F69E1150C6C5EDC8AC4916105EF944",  # 42
            "C6E7F081CF80E13146676E88829B606631645531",  # 43
            "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6",  # 44
            "4F50A6114CD5C6976A7F1179655A4B02F577861E",  # 45
            "D924B10D3E810DABDD8B56B596E7E91491211FCE",  # 46
        }
    ),
    key_url="https://fedoraproject.org/fedora.gpg",
)

CONTAINER_LINUX = Publisher(
    name="container-linux",
    title="Container Linux",
    base="",  # it is no longer published, and can only be imported
    arches={"amd64": "amd64-usr"},
    fingerprints=frozenset({"04127D0BFABEC8871FFB2CCE50E0885593D2DCB4"}),  # CoreOS Buildbot
    files=("coreos_production_pxe.vmlinuz", "coreos_production_pxe_image.cpio.gz"),
    version_keys=("COREOS_VERSION",),
)

PUBLISHERS = {system.name: system for system in (FLATCAR, FEDORA_COREOS, CONTAINER_LINUX)}
FETCHED = tuple(name for name, system in PUBLISHERS.items() if system.base)


def names_of(system: Publisher, version: str) -> tuple[str, ...]:
    """What the files of a release are called, by its name in the cache, whether it is there or not.

    Fedora CoreOS's kernel had a dash before the processor until Fedora 41, and has had a dot since.
    """
    if system.files:
        return system.files
    bare = version.removesuffix("-arm64")
    arch = system.arches["amd64" if bare == version else "arm64"]
    fedora = bare.partition(".")[0]
    sign = "-" if fedora.isdecimal() and int(fedora) < 42 else "."
    live = f"fedora-coreos-{bare}-live"
    return (f"{live}-kernel{sign}{arch}", f"{live}-initramfs.{arch}.img", f"{live}-rootfs.{arch}.img")


_ARCHES = {"amd64": "amd64", "x86_64": "amd64", "arm64": "arm64", "aarch64": "arm64"}


def debian_arch(word: str) -> str:
    """A processor by Debian's name for it. Raises ParameterError."""
    if word not in _ARCHES:
        raise ParameterError(f"{word!r} is no architecture of these systems", fix=f"write {' or '.join(_ARCHES)}")
    return _ARCHES[word]


def check_word(kind: str, word: str) -> str:
    """A version or a channel that can be part of a path. Raises ParameterError."""
    if not WORD.fullmatch(word) or ".." in word:
        raise ParameterError(f"{word!r} cannot be a {kind}", fix="./lab images fetch --help has examples")
    return word


def fingerprint(word: str) -> str:
    """The fingerprint of a primary key, in capital letters without blanks. Raises ParameterError."""
    plain = re.sub(r"[\s:]", "", word).upper().removeprefix("0X")
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", plain):
        fix = "write all 40 digits, as gpg --show-keys FILE prints them; a shorter number can be forged"
        raise ParameterError(f"{word!r} is no fingerprint of a key", fix=fix)
    return plain
