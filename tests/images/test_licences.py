"""Under which licence the firmware in an image is."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import ImageError
from labkit.images.build.licences import FOLDER, licences

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Files-Excluded:
 emi26/*.fw

Files: *
Copyright: somebody
License: permissive

Files:
 tigon/*
 rtl_nic/old-*.fw
License: restrictive
 Only with
 .
 such cards.

License: permissive
 Do as you like.
"""


def tree(folder: Path, *files: str, copyright: str = COPYRIGHT) -> Path:
    place = folder / "usr/share/doc/firmware-toy/copyright"
    place.parent.mkdir(parents=True)
    place.write_text(copyright)
    for file in files:
        path = folder / FOLDER / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    return folder


def test_the_last_that_matches_counts(tmp_path: Path) -> None:
    root = tree(tmp_path, "tigon/tg3.bin", "rtl_nic/old-1.fw", "rtl_nic/new-1.fw")
    (root / FOLDER / "tigon/link.bin").symlink_to("tg3.bin")
    assert licences(root) == {
        "permissive": ["rtl_nic/new-1.fw"],
        "restrictive": ["rtl_nic/old-1.fw", "tigon/tg3.bin"],
    }


def test_a_file_of_unknown_licence_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"licence tigon/tg3\.bin is"):
        licences(
            tree(
                tmp_path,
                "tigon/tg3.bin",
                copyright=COPYRIGHT.replace("Files: *", "Files: else/*").replace("tigon/", "x/"),
            )
        )
