"""What the files of a release tell of their build, and that files of another form tell nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.boot.artifacts import cpio
from labkit.images.releases.contents import kernel_version, members, module_versions, root_version
from tests.rig.releases import image, kernel


def quiet(_: str) -> None: ...


def test_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(kernel("6.12.58-flatcar"))
    assert kernel_version(path) == "6.12.58-flatcar"
    for other in (b"", b"MZ" + bytes(2000), bytes(0x210)):
        path.write_bytes(other)
        assert kernel_version(path) == ""


def test_the_modules_of_a_root(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(image("6.12.58-flatcar"))
    assert module_versions(path, tmp_path, quiet) == ["6.12.58-flatcar"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        gzip.compress(bytes(100)),
        cpio.pack_gz({"usr.erofs": b"x"}),
        cpio.pack_gz({"usr.squashfs": b"no squashfs"}),
        cpio.pack_gz({"usr.squashfs": bytes(5000)})[:-20],
    ],
    ids=range(7),
)
def test_another_form_tells_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert module_versions(path, tmp_path, quiet) == []
    assert root_version(path) == ""


def test_the_version_of_a_root(tmp_path: Path) -> None:
    path = tmp_path / "root"
    first = cpio.pack({"root.squashfs": bytes(5001)})
    second = cpio.pack({"etc/coreos-live-rootfs": b"43.1\n"})
    for content in (first[:-4] + second, first + bytes(512) + second, second + first):
        path.write_bytes(content)
        assert root_version(path) == "43.1"
    path.write_bytes(first)
    assert root_version(path) == ""


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_members_or_none(content: bytes, at: int) -> None:
    import io

    whole = cpio.pack({"a": b"1", "b/c": b"2345"})
    for data in (content, whole[:at] + content + whole[at:]):
        assert len(list(members(io.BytesIO(data)))) <= 8
