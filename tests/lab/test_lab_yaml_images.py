"""``images:`` in lab.yaml: where releases of other systems are fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabFileError
from labkit.lab import ImageSources, lab_yaml

LAB = "blades:\n  - name: blade1\n"


@pytest.mark.parametrize(
    ("said", "sources"),
    [
        ("", ImageSources()),
        ("images:\n", ImageSources()),
        ("images: {mirror: {flatcar: 'https://mirror.example/flatcar/'}}\n",
         ImageSources((("flatcar", "https://mirror.example/flatcar"),))),
        ("images: {mirror: {flatcar: 'http://10.0.0.1:8080/{channel}', fedora-coreos: 'http://m'}, proxy: 'http://p:3128/'}\n",
         ImageSources((("flatcar", "http://10.0.0.1:8080/{channel}"), ("fedora-coreos", "http://m")), "http://p:3128")),
    ],
)  # fmt: skip
def test_the_sources(said: str, sources: ImageSources) -> None:
    assert lab_yaml.parse(LAB + said, Path("lab.yaml")).images == sources


def test_a_mirror_is_of_one_system() -> None:
    lab = lab_yaml.parse(LAB + "images: {mirror: {flatcar: http://m/f}}\n", Path("lab.yaml"))
    assert (lab.images.mirror("flatcar"), lab.images.mirror("fedora-coreos")) == ("http://m/f", "")


@pytest.mark.parametrize(
    ("said", "column", "what"),
    [
        ("images: http://m\n", 9, "images must be a mapping"),
        ("images: {mirror: http://m}\n", 18, "images: mirror must be a mapping"),
        ("images: {mirror: {flatcar: ftp://m}}\n", 28, "'ftp://m' is not the address of a mirror"),
        ("images: {mirror: {flatcar: 'http://m/?x=1'}}\n", 28, "is not the address of a mirror"),
        ("images: {mirror: {flatcar: 'http://m/{version}'}}\n", 28, "is not the address of a mirror"),
        ("images: {mirror: {flatcat: http://m}}\n", 19, "images: mirror has no key 'flatcat'"),
        ("images: {mirror: {labos: http://m}}\n", 19, "images: mirror has no key 'labos'"),
        ("images: {mirror: {flatcar: [a]}}\n", 28, "flatcar must be one value"),
        ("images: {proxy: p:3128}\n", 17, "'p:3128' is not the address of a proxy"),
        ("images: {proxy: 'http://me:secret@p'}\n", 17, "a password does not belong into a lab file"),
        ("images: {proxi: http://p}\n", 10, "images has no key 'proxi'"),
        ("proxy: http://p\n", 1, "a lab has no key 'proxy'"),
    ],
)
def test_mistakes_have_their_place(said: str, column: int, what: str) -> None:
    with pytest.raises(LabFileError) as caught:
        lab_yaml.parse(LAB + said, Path("lab.yaml"))
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.column) == (3, column)
    assert what in mistake.what
    assert mistake.fix
    assert "secret" not in str(caught.value)
