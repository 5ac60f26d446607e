"""The images' part of a lab file: where releases of systems are fetched from, and by which proxy."""

from __future__ import annotations

import re

from labkit.lab import PUBLISHED, ImageSources
from labkit.lab.lab_yaml.positions import Kind, Notes, Section, Wrong, short

IMAGES = Kind("images", ("mirror", "proxy"))
MIRROR = Kind("images: mirror", PUBLISHED)


def read_images(top: Section, notes: Notes) -> ImageSources:
    """Where releases come from."""
    section = Section(top.value("images"), top.anchor, IMAGES, notes)
    mirrors = Section(section.value("mirror"), section.anchor, MIRROR, notes)
    said = {system: mirrors.take(system, _mirror, "") for system in PUBLISHED}
    return ImageSources(tuple((system, url) for system, url in said.items() if url), section.take("proxy", _proxy, ""))


def _mirror(text: str) -> str:
    """The URL below which a mirror has what the publisher has below his; ``{channel}`` stands for the channel."""
    plain = text.replace("{channel}", "channel")
    if not re.fullmatch(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%+/-]*)?", plain):
        fix = "write it like https://mirror.example/flatcar, perhaps with {channel} in it"
        raise Wrong(f"{short(text)} is not the address of a mirror", fix)
    return text.rstrip("/")


def _proxy(text: str) -> str:
    """A proxy's URL; one that wants a password is named in the environment, where others do not read it."""
    if "@" in text:
        raise Wrong("a password does not belong into a lab file", "set https_proxy in the environment instead")
    if not re.fullmatch(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/?", text):
        raise Wrong(f"{short(text)} is not the address of a proxy", "write it like http://proxy.example:3128")
    return text.rstrip("/")
