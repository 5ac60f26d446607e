"""What publishers say of their releases: read as they write it, refused with a sentence where it is something else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import ImageError, ParameterError
from labkit.images.releases import metadata, publishers
from labkit.images.releases.metadata import build_in_name, read_digests, read_release, read_stream, read_version_txt
from labkit.images.releases.publishers import CONTAINER_LINUX, FEDORA_COREOS, FLATCAR
from labkit.lab import PUBLISHED

VERSION_TXT = """\
FLATCAR_BUILD=4459
FLATCAR_BRANCH=2
FLATCAR_PATCH=1
FLATCAR_VERSION=4459.2.1
FLATCAR_VERSION_ID=4459.2.1
FLATCAR_BUILD_ID="2025-11-23-2139"
FLATCAR_SDK_VERSION=4459.0.0
"""
BASE = "https://builds.coreos.fedoraproject.org/prod/streams/stable/builds"


def part(version: str, name: str) -> dict[str, str]:
    url = f"{BASE}/{version}/x86_64/fedora-coreos-{version}-live-{name}"
    return {"location": url, "signature": f"{url}.sig", "sha256": "ab" * 32}


def stream(version: str = "43.20251110.3.1", root: str = "") -> str:
    pxe = {
        "kernel": part(version, "kernel.x86_64"),
        "initramfs": part(version, "initramfs.x86_64.img"),
        "rootfs": part(root or version, "rootfs.x86_64.img"),
    }
    metal = {"release": version, "formats": {"iso": {}, "pxe": pxe}}
    return json.dumps({"stream": "stable", "architectures": {"x86_64": {"artifacts": {"metal": metal}}}})


def test_the_lab_file_knows_the_same_systems() -> None:
    assert publishers.FETCHED == PUBLISHED


def test_a_version_txt() -> None:
    assert read_version_txt(VERSION_TXT, FLATCAR, "u") == "4459.2.1"
    assert read_version_txt('COREOS_VERSION="2512.3.0"\n', CONTAINER_LINUX, "u") == "2512.3.0"


@pytest.mark.parametrize(
    "text", ["", "FLATCAR_VERSION=\n", "FLATCAR_VERSION=../../etc\n", "FLATCAR_VERSION=a/b\n", "{}"]
)
def test_what_is_no_version_txt(text: str) -> None:
    with pytest.raises(ImageError, match="no version.txt of Flatcar"):
        read_version_txt(text, FLATCAR, "u")


@pytest.mark.parametrize("page", ["<!DOCTYPE html><p>x", "\n <HTML>", "\ufeff<html lang=ja>", "<head>"])
def test_a_web_page_is_called_one(page: str) -> None:
    for read in (
        lambda: read_version_txt(page, FLATCAR, "u"),
        lambda: read_digests(page, "x", "u"),
        lambda: read_stream(page, FEDORA_COREOS, "stable", "amd64", "u"),
    ):
        with pytest.raises(ImageError, match="captive portal"):
            read()


def test_digests_give_the_strongest_sum() -> None:
    sums = {"MD5": "1" * 32, "SHA256": "3" * 64, "SHA512": "2" * 128}
    text = "".join(f"# {kind} HASH\n{digest}  a.gz\n" for kind, digest in sums.items()) + f"{'4' * 128}  b\n"
    assert read_digests(text, "a.gz", "u") == ("sha512", "2" * 128)
    assert read_digests(f"{'A' * 64} *./out/a.gz\n", "a.gz", "u") == ("sha256", "a" * 64)
    with pytest.raises(ImageError, match=r"neither a SHA-512 nor a SHA-256 of c"):
        read_digests(text, "c", "u")


def test_a_stream() -> None:
    release = read_stream(stream(), FEDORA_COREOS, "stable", "amd64", "u")
    assert (release.version, release.label, release.arch) == ("43.20251110.3.1", "43.20251110.3.1", "amd64")
    assert [file.name.rpartition("-")[2] for file in release.files] == [
        "kernel.x86_64", "initramfs.x86_64.img", "rootfs.x86_64.img",
    ]  # fmt: skip
    assert release.files[0].algorithm == "sha256"
    assert release.files[0].signature_url == release.files[0].url + ".sig"


def test_other_processors_have_a_name_of_their_own() -> None:
    assert metadata.label("4459.2.1", "arm64") == "4459.2.1-arm64"


def test_a_stream_whose_files_are_of_two_builds() -> None:
    with pytest.raises(ImageError, match=r"not of one build(.|\n)*rootfs.x86_64.img is of 43.20251027.3.0"):
        read_stream(stream(root="43.20251027.3.0"), FEDORA_COREOS, "stable", "amd64", "u")


DAMAGES: dict[str, tuple[str, str, str]] = {
    "another processor": ("x86_64", "s390x", r"no architectures\.x86_64"),
    "no PXE": ('"pxe"', '"qcow2"', r"no formats\.pxe"),
    "no root": ('"rootfs"', '"root"', "no rootfs"),
    "sums that are none": ("ab" * 32, "zz" * 32, "kernel has no SHA-256"),
    "addresses that are none": ("https://", "file:///", "kernel has no location"),
    "no version": ('"release"', '"x"', "which release"),
    "cut off": ('"stable", ', '"stable', "not JSON"),
    "a list": ("{", "[", "not JSON"),
    "a deep list": ("{", "[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_stream(damage: str) -> None:
    old, new, said = DAMAGES[damage]
    with pytest.raises(ImageError, match=said):
        read_stream(stream().replace(old, new), FEDORA_COREOS, "stable", "amd64", "u")


KEYS = ("architectures", "x86_64", "artifacts", "metal", "formats", "pxe", "kernel", "media", "release")


@given(
    st.recursive(
        st.none() | st.text(max_size=4),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
        max_leaves=8,
    )
)
def test_any_json_is_a_release_or_a_sentence(value: object) -> None:
    for read in (read_stream, read_release):
        with pytest.raises(ImageError):
            read(json.dumps(value), FEDORA_COREOS, "stable", "amd64", "u")


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("fedora-coreos-43.20251110.3.1-live-kernel.x86_64", ("43.20251110.3.1", "kernel", "x86_64")),
        ("fedora-coreos-34.20210611.3.0-live-kernel-x86_64", ("34.20210611.3.0", "kernel", "x86_64")),
        ("fedora-coreos-34.20210611.3.0-live-rootfs.aarch64.img", ("34.20210611.3.0", "rootfs", "aarch64")),
        ("fedora-coreos-34.20210611.3.0-live.x86_64.iso", None),
        ("fedora-coreos-34.20210611.3.0-live-kernel-x86_64.sig", None),
        ("vmlinuz", None),
    ],
)
def test_what_a_name_tells(name: str, build: tuple[str, str, str] | None) -> None:
    assert build_in_name(name) == build


@pytest.mark.parametrize("word", ["", "../x", "a/b", ".hidden", "a b", "a..b", "x" * 200, "-x"])
def test_what_cannot_be_a_version(word: str) -> None:
    with pytest.raises(ParameterError, match="cannot be a version"):
        publishers.check_word("version", word)


def test_fingerprints_are_whole() -> None:
    whole = "f88c fede ff29 a5b4 d952 3864 e25d 9aed 0593 b34a"
    assert {publishers.fingerprint(whole)} == FLATCAR.fingerprints
    with pytest.raises(ParameterError, match="all 40 digits"):
        publishers.fingerprint("0593B34A")
