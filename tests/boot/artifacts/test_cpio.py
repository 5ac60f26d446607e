"""newc archives: what goes in comes out, GNU cpio reads the same, and nothing broken is taken for whole."""

from __future__ import annotations

import gzip
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.boot.artifacts.cpio import TRAILER, CpioError, listing, pack, pack_gz, unpack

PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..", TRAILER)
)
NAME = st.lists(PART, min_size=1, max_size=4).map("/".join)
SAMPLE = {"usr/share/oem/raw.ign": b'{"ignition":{"version":"3.3.0"}}', "a": b"", "usr/b": b"12345"}


def has_file_below_file(files: dict[str, bytes]) -> bool:
    return any(other.startswith(f"{name}/") for name in files for other in files)


FILES = st.dictionaries(NAME, st.binary(max_size=40), max_size=6).filter(lambda files: not has_file_below_file(files))


@settings(max_examples=60)
@given(files=FILES, mode=st.sampled_from([0o600, 0o644, 0o755]))
def test_what_goes_in_comes_out(files: dict[str, bytes], mode: int) -> None:
    entries = list(unpack(pack(files, mode=mode)))
    assert {entry.name: entry.data for entry in entries if not entry.is_folder} == files
    assert {entry.mode for entry in entries if not entry.is_folder} <= {stat.S_IFREG | mode}
    folders = {entry.name for entry in entries if entry.is_folder}
    assert folders == {str(above) for name in files for above in Path(name).parents} - {"."}
    seen: set[str] = set()
    for entry in entries:  # the kernel makes no folders of its own: each has to come before what lies in it
        assert "/" not in entry.name or entry.name.rpartition("/")[0] in seen
        seen.add(entry.name)


def test_same_files_same_bytes() -> None:
    turned = dict(reversed(SAMPLE.items()))
    assert pack(SAMPLE) == pack(turned)
    assert pack_gz(SAMPLE) == pack_gz(turned)
    assert gzip.decompress(pack_gz(SAMPLE)) == pack(SAMPLE)
    assert pack_gz(SAMPLE)[3:8] == bytes(5), "the gzip header has no name (flags) and no time"
    assert len(pack(SAMPLE)) % 512 == 0


@pytest.mark.skipif(shutil.which("cpio") is None, reason="GNU cpio is not installed")
def test_gnu_cpio_reads_the_same(tmp_path: Path) -> None:
    run = ["cpio", "--extract", "--quiet", "--make-directories", "--preserve-modification-time", "--no-preserve-owner"]
    subprocess.run(run, input=pack(SAMPLE, mode=0o640), cwd=tmp_path, check=True, timeout=10)
    found = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*")}
    expected = {entry.name: entry for entry in unpack(pack(SAMPLE, mode=0o640))}
    assert found.keys() == expected.keys()
    for name, path in found.items():
        assert path.stat().st_mode == expected[name].mode, name
        assert path.is_dir() or path.read_bytes() == SAMPLE[name]
        assert path.is_dir() or path.stat().st_mtime == 0


@pytest.mark.skipif(shutil.which("cpio") is None, reason="GNU cpio is not installed")
def test_reads_what_gnu_cpio_writes(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/raw.ign").write_bytes(b"{}")
    (tmp_path / "usr/raw.ign").chmod(0o604)
    done = subprocess.run(
        ["cpio", "--create", "--quiet", "--format=newc"], input=b"usr\nusr/raw.ign\n", cwd=tmp_path,
        capture_output=True, check=True, timeout=10,
    )  # fmt: skip
    folder, file = unpack(done.stdout)
    assert (folder.name, folder.is_folder) == ("usr", True)
    assert (file.name, file.mode, file.data) == ("usr/raw.ign", stat.S_IFREG | 0o604, b"{}")


def test_listing() -> None:
    assert listing(pack({"etc/x": b"abc"}, mode=0o600)) == "drwxr-xr-x        0  etc\n-rw-------        3  etc/x"


@pytest.mark.parametrize("name", ["", "/etc/x", "etc//x", "etc/", ".", "./x", "a/../b", "..", "a\0b", TRAILER])
def test_bad_names(name: str) -> None:
    with pytest.raises(CpioError, match="not a name"):
        pack({name: b""})


@pytest.mark.parametrize("names", [("etc", "etc/x"), ("etc/x", "etc")])
def test_no_file_lies_below_a_file(names: tuple[str, str]) -> None:
    with pytest.raises(CpioError, match="'etc' is a file"):
        pack(dict.fromkeys(names, b""))


def test_every_truncated_archive_is_told() -> None:
    whole, packed = pack(SAMPLE).rstrip(b"\0"), pack_gz(SAMPLE)
    for archive in (*(whole[:end] for end in range(len(whole))), *(packed[:end] for end in range(len(packed)))):
        with pytest.raises(CpioError):
            list(unpack(archive))


@settings(max_examples=150)
@given(at=st.integers(0, 900), byte=st.integers(0, 255), zipped=st.booleans())
def test_a_wrong_byte_gives_members_or_an_error(at: int, byte: int, zipped: bool) -> None:
    archive = bytearray(pack_gz(SAMPLE) if zipped else pack(SAMPLE))
    archive[at % len(archive)] = byte
    try:
        entries = list(unpack(bytes(archive)))
    except CpioError:
        return
    assert sum(len(entry.data) for entry in entries) <= len(pack(SAMPLE))


@pytest.mark.parametrize("size", [b"-0000001", b"+0000001", b" 0000001", b"0_000001", b"0000000g"])
def test_numbers_are_plain_hexadecimal(size: bytes) -> None:
    archive = bytearray(pack({"a": b"1"}))
    archive[54:62] = size
    with pytest.raises(CpioError, match="byte 0 is no hexadecimal number"):
        list(unpack(bytes(archive)))
