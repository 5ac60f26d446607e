"""What a blade says of its disk, what is told of that, and the yes to wipe it, which is of one boot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from labkit.boot import BootPlan, BootSecrets, Resource
from labkit.events import DISK, Note, Trouble
from labkit.lab import Blade
from labkit.lab.secret import Secret
from labkit.netboot.boots import BootBook
from tests.rig.dhcp import make_lab, prepare
from tests.rig.http_server import Rig

REFUSED = "refused\n0123456789abcdef\n/dev/vda has something on it (ext4); Docker is in memory\n"
USED = "used\nfedcba9876543210\nDocker is on /dev/vda, with what was there\n"
GONE = "refused\n\nthere is no /dev/vda; Docker is in memory\n"


@pytest.mark.parametrize(("said", "fix"), [(REFUSED, "./lab disk wipe blade1"), (GONE, "lsblk")])
def test_a_disk_that_is_left_alone_is_a_trouble_once_a_boot(tmp_path: Path, said: str, fix: str) -> None:
    rig = Rig(tmp_path)

    async def talk(client: aiohttp.ClientSession) -> None:
        for stage in ("os", "joined"):
            form = {"stage": stage, "disk": said}
            async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data=form) as answer:
                assert answer.status == 200

    rig.run(talk)
    [trouble] = rig.seen.of(Trouble)
    assert (trouble.part, trouble.blade, trouble.boot) == (DISK, "blade1", rig.boot.id)
    assert trouble.detail == said.splitlines()[2] and fix in trouble.fix
    assert ("wipe" in trouble.fix) == (said == REFUSED), "what was not found cannot be wiped"


def test_a_disk_that_is_used_is_worth_a_note(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def talk(client: aiohttp.ClientSession) -> None:
        for said in ("nonsense", USED, ""):
            form = {"stage": "os", "disk": said}
            async with client.post(f"{rig.root}/v1/stage", headers=rig.ticket, data=form) as answer:
                assert answer.status == 200

    rig.run(talk)
    assert [note.detail for note in rig.seen.of(Note)] == ["Docker is on /dev/vda, with what was there"]
    assert rig.seen.of(Trouble) == []


def test_a_yes_is_of_the_next_boot_alone(tmp_path: Path) -> None:
    given: list[str] = []

    def noting(blade: Blade, boot: str, secrets: BootSecrets) -> tuple[BootPlan, Mapping[str, Resource]]:
        given.append(secrets.wipe)
        return prepare(blade, boot, secrets)

    path = tmp_path / "boots.json"
    book = BootBook(make_lab(), Secret("key"), path, noting)
    assert book.let_wipe("blade1", allowed=True) is None, "nothing has booted"
    first = book.begin("blade1", "power")
    assert book.let_wipe("blade1", allowed=True) is None, "nothing was found"
    assert book.told_disk(first, "0123456789abcdef", "words") and not book.told_disk(first, "0123456789abcdef", "words")
    assert book.let_wipe("blade1", allowed=True) is not None
    book.frozen(first)
    book = BootBook(make_lab(), Secret("key"), path, noting)  # started anew
    second = book.begin("blade1", "power")
    assert not book.told_disk(first, "f" * 16, "late"), "that boot is over"
    book.frozen(second)
    BootBook(make_lab(), Secret("key"), path, noting).frozen(second)
    third = book.begin("blade1", "power")
    book.frozen(third)
    assert given == ["", "0123456789abcdef", "0123456789abcdef", ""]
    assert book.let_wipe("blade1", allowed=True) is not None, "what was found last is still known"
    assert book.let_wipe("blade1", allowed=False) is not None
    book.frozen(book.begin("blade1", "power"))
    assert given[-1] == ""
