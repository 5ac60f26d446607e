"""Leases, boots and the roster: who is who, what survives a restart, and who gets no secret."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.boot import BaseConfig, BootPlan, BootSecrets, ImageFile, Rendered, Resource
from labkit.errors import MachineError
from labkit.events import BootStarted, Dhcp, Note, Ticket, Transfer, Trouble, UnknownMachine
from labkit.lab import Blade, SwarmRules
from labkit.lab.secret import Secret
from labkit.netboot import plans
from labkit.netboot.boots import BootBook, Prepare, ticket
from labkit.netboot.clients import FOREIGN_EVENTS, UNKNOWN_KEPT, ClientBook, Refusal
from labkit.netboot.dhcp import leases as leasebook
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.paths import plain
from tests.rig.dhcp import ADDRESS, MAC, NOW, STRANGER, Seen, bound, make_clients, make_lab, prepare

KEY = Secret("key")
BLADE1 = str(ADDRESS)


def make_book(path: Path) -> BootBook:
    return BootBook(make_lab(), KEY, path, prepare)


# --- leases ---


def test_a_saved_book_is_the_same_book(tmp_path: Path) -> None:
    path = tmp_path / "leases.json"
    assert leasebook.load(path) == LeaseBook()
    book = bound().put(Lease(ADDRESS + 1, STRANGER, LeaseState.DECLINED, NOW + 0.125))
    leasebook.save(book, path)
    assert leasebook.load(path) == book
    assert [file.name for file in tmp_path.iterdir()] == ["leases.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"leases": [{}]}', '{"leases": [{"address": "x"}]}', "null"])
def test_a_broken_lease_book_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "leases.json").write_text(text)
    with pytest.raises(MachineError, match="not a lease book"):
        leasebook.load(tmp_path / "leases.json")


def test_who_holds_what() -> None:
    book = bound(until=NOW + 1)
    assert (book.holder(ADDRESS, NOW), book.holder(ADDRESS, NOW + 1), book.holder(ADDRESS + 1, NOW)) == (MAC, "", "")
    assert book.put(replace(book.leases[ADDRESS], state=LeaseState.OFFERED)).holder(ADDRESS, NOW) == ""
    assert book.of(MAC) == book.leases[ADDRESS]
    assert book.of(STRANGER) is None
    newer = book.put(Lease(ADDRESS + 1, MAC, LeaseState.OFFERED, NOW + 2))
    lease = newer.of(MAC)
    assert lease is not None and lease.address == ADDRESS + 1
    assert newer.drop(ADDRESS + 1) == book


def test_who_may_have_what() -> None:
    book = bound(until=NOW + 1)
    assert book.is_free(ADDRESS, MAC, NOW)
    assert not book.is_free(ADDRESS, STRANGER, NOW)
    assert book.is_free(ADDRESS, STRANGER, NOW + 1)
    declined = book.put(replace(book.leases[ADDRESS], state=LeaseState.DECLINED))
    assert not declined.is_free(ADDRESS, MAC, NOW)


# --- boots ---


def test_a_boot_begins_with_power_and_goes_on_until_it_asked_for_its_kernel(tmp_path: Path) -> None:
    book = make_book(tmp_path / "boots.json")
    first = book.begin("blade1", "power")
    assert book.sought("blade1") is None  # the firmware of the boot that we began
    book.asked("blade1", "pxelinux.cfg/default")
    assert book.sought("blade1") is None
    book.asked("blade1", "labos/vmlinuz")
    second = book.sought("blade1")
    assert second is not None and second.id != first.id
    assert (second.cause, second.kernel, second.joined) == ("pxe", False, False)
    assert book.sought("blade2") is not None  # nobody told us of its power: the firmware did
    with pytest.raises(KeyError):
        book.begin("blade9", "power")


def test_the_join_window_opens_and_closes(tmp_path: Path) -> None:
    rules = SwarmRules(window_s=900, window_on_discover=False)
    lab = replace(make_lab(), swarm=rules)
    book = BootBook(lab, KEY, tmp_path / "boots.json", prepare)
    ours = book.begin("blade1", "power", NOW)
    assert book.is_open(ours, NOW) and book.is_open(ours, NOW + 899) and not book.is_open(ours, NOW + 900)
    assert not book.is_open(ours, NOW - 1)  # the clock was put back: better closed than open for long
    book.returning("blade1", NOW + 100)
    announced = book.begin("blade1", "pxe", NOW + 999)
    assert book.is_open(announced, NOW + 999)
    assert not book.is_open(book.begin("blade1", "pxe", NOW + 1000), NOW + 1000)  # said once, good once
    opened = book.open("blade1", NOW + 2000)
    assert opened is not None and book.is_open(opened, NOW + 2899)
    assert BootBook(lab, KEY, tmp_path / "boots.json", prepare).current("blade1") == opened  # over a restart
    book.joined("blade1")
    joined = book.current("blade1")
    assert joined is not None and not book.is_open(joined, NOW + 2000)
    assert book.open("blade1") is None and book.open("blade2") is None
    easy = BootBook(make_lab(), KEY, tmp_path / "easy.json", prepare)
    assert easy.is_open(easy.begin("blade1", "pxe", NOW), NOW)


def test_a_boot_is_expected_of_a_blade_whose_power_nobody_can_tell(tmp_path: Path) -> None:
    """It may be on, and then nothing may change for it; or it comes, and then its boot is ours."""
    book = make_book(tmp_path / "boots.json")
    first = book.expect("blade1")
    assert first is not None and first.cause == "power" and book.sought("blade1") is None
    again = book.expect("blade1")
    assert again is not None and again.id != first.id
    book.asked("blade1", "labos/vmlinuz")
    assert book.expect("blade1") is None
    assert book.current("blade1") == replace(again, kernel=True, expected=book.all()["blade1"].expected)
    came = make_book(tmp_path / "boots.json").sought("blade1")
    assert came is not None and (came.cause, came.expected) == ("power", 0)
    book.sought("blade1")
    book.asked("blade1", "labos/vmlinuz")
    by_itself = book.sought("blade1")
    assert by_itself is not None and by_itself.cause == "pxe"


def test_a_boot_that_was_put_out_may_join_once_more(tmp_path: Path) -> None:
    book = BootBook(make_lab(), KEY, tmp_path / "boots.json", prepare)
    boot = book.begin("blade1", "power", NOW)
    book.put_out("blade1")
    assert book.current("blade1") == boot, "it has not joined: there is nothing to be put out of"
    book.joined("blade1")
    book.put_out("blade1")
    out = BootBook(make_lab(), KEY, tmp_path / "boots.json", prepare).current("blade1")  # over a restart
    assert out is not None and out.again and out.joined and book.is_open(out, NOW + 1e6)  # however long that takes
    assert book.ticket(out).reveal() == book.ticket(boot).reveal()
    book.joined("blade1")
    back = book.current("blade1")
    assert back is not None and not back.again and not book.is_open(back, NOW)


def test_a_book_survives_a_restart_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "boots.json"
    book = make_book(path)
    boot = book.begin("blade1", "power", NOW)
    book.joined("blade1")
    again = make_book(path)
    kept = again.current("blade1")
    assert kept == replace(boot, kernel=True, joined=True)
    assert again.ticket(kept) == book.ticket(boot) == ticket(KEY, "blade1", boot.id)
    assert again.ticket(kept).reveal() not in path.read_text()
    assert again.frozen(kept).resources == book.frozen(boot).resources


def test_a_boot_that_was_sought_is_on_disk_once_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "boots.json"
    book = make_book(path)
    found = [book.sought(name) for name in ("blade1", "blade2")]
    assert not path.exists() and book.sought("blade1") is None
    book.save()
    assert list(make_book(path).all().values()) == found
    path.unlink()
    book.save()
    assert not path.exists(), "there was nothing new to write"
    assert book.sought("blade3") is not None
    book.joined("blade1")  # what is written at once takes along what waits
    assert make_book(path).current("blade3") == book.current("blade3")


def versioned(version: str) -> Prepare:
    def prepare_version(blade: Blade, boot: str, secrets: BootSecrets) -> tuple[BootPlan, Mapping[str, Resource]]:
        plan, files = prepare(blade, boot, secrets)
        return replace(plan, version=version), files

    return prepare_version


def test_a_boot_remembers_what_it_brought(tmp_path: Path) -> None:
    path = tmp_path / "boots.json"
    book = BootBook(make_lab(), KEY, path, versioned("v1"))
    boot = book.begin("blade1", "power", NOW)
    assert boot.version == ""
    book.asked("blade1", "labos/vmlinuz")  # which plans it
    restarted = BootBook(make_lab(), KEY, path, versioned("v2"))
    before = restarted.current("blade1")
    assert before is not None and before.version == "v1"
    restarted.frozen(before)  # on its way it gets what there is now
    now = restarted.current("blade1")
    assert now is not None and now.version == "v2"
    restarted.joined("blade1")
    later = BootBook(make_lab(), KEY, path, versioned("v3"))
    joined = later.current("blade1")
    assert joined is not None
    later.frozen(joined)
    kept = later.current("blade1")
    assert kept is not None and kept.version == "v2", "it runs what it booted, whatever there is by now"


def test_what_a_boot_would_bring_is_told_without_one(tmp_path: Path) -> None:
    book = BootBook(make_lab(), KEY, tmp_path / "boots.json", versioned("v1"))
    versions, wrong = book.versions()
    assert versions == {"blade1": "v1", "blade2": "v1"}
    assert wrong == {"blade3": "blade3 cannot be planned"}
    assert book.all() == {}


def test_boots_of_blades_that_left_the_lab_are_forgotten(tmp_path: Path) -> None:
    make_book(tmp_path / "boots.json").begin("blade2", "power")
    lab = make_lab()
    assert BootBook(replace(lab, blades=lab.blades[:1]), KEY, tmp_path / "boots.json", prepare).all() == {}


@pytest.mark.parametrize("text", ["", "[]", '{"boots": [{"blade": "blade1"}]}'])
def test_a_broken_boot_book_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "boots.json").write_text(text)
    with pytest.raises(MachineError, match="not a boot book"):
        make_book(tmp_path / "boots.json")


def test_tickets_differ_by_key_blade_and_boot() -> None:
    tickets = {ticket(key, blade, boot).reveal() for key in (KEY, Secret("k")) for blade in "ab" for boot in "12"}
    assert len(tickets) == 8
    assert all(len(one) == 64 for one in tickets)


def test_a_plan_is_made_once_for_a_boot(tmp_path: Path) -> None:
    book = make_book(tmp_path / "boots.json")
    boot = book.begin("blade1", "power")
    assert book.frozen(boot) is book.frozen(boot)
    other = book.begin("blade1", "power")
    assert book.frozen(other) is not book.frozen(boot)


def test_threads_agree_on_one_boot(tmp_path: Path) -> None:
    book = make_book(tmp_path / "boots.json")
    begun: list[object] = []
    threads = [threading.Thread(target=lambda: begun.append(book.sought("blade1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([boot for boot in begun if boot is not None]) == 1


# --- the roster ---


def test_a_blade_gets_its_own_files(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    boots = {name: clients.boots.begin(name, "power") for name in ("blade1", "blade2")}
    for name, address in (("blade1", BLADE1), ("blade2", "10.77.0.12")):
        archive = clients.lookup(address, "labos/oem.cpio.gz")
        assert isinstance(archive, Rendered) and archive.secret
        assert archive.content.split()[:2] == [name.encode(), boots[name].id.encode()]
        assert clients.lookup(address, "labos/vmlinuz") == ImageFile("labos/vmlinuz")


def test_nobody_else_gets_any(tmp_path: Path) -> None:
    clients = make_clients(tmp_path, Seen())
    assert clients.lookup(BLADE1, "labos/vmlinuz") == Refusal("no blade is booting at this address")
    clients.boots.begin("blade1", "power")
    for address in ("10.77.0.12", "10.77.0.99", "127.0.0.1", "::1", "", "nonsense"):
        assert clients.lookup(address, "labos/oem.cpio.gz") == Refusal("no blade is booting at this address")
    assert clients.lookup(BLADE1, "etc/passwd") == Refusal("not a file of this boot")


def test_an_address_that_was_given_up_has_no_rights(tmp_path: Path) -> None:
    clients = make_clients(tmp_path, Seen())
    clients.boots.begin("blade1", "power")
    clients.adopt(Decision(clients.leases.drop(ADDRESS), must_save=True))
    clients.save()
    assert isinstance(clients.lookup(BLADE1, "labos/oem.cpio.gz"), Refusal)
    assert leasebook.load(tmp_path / "leases.json").at(ADDRESS, 0) is None


def test_once_joined_there_are_no_secrets_to_be_had(tmp_path: Path) -> None:
    clients = make_clients(tmp_path, Seen())
    clients.boots.begin("blade1", "power")
    assert isinstance(clients.lookup(BLADE1, "labos/oem.cpio.gz"), Rendered)
    clients.boots.joined("blade1")
    refusal = clients.lookup(BLADE1, "labos/oem.cpio.gz")
    assert refusal == Refusal("this boot has joined: its secrets are no longer given out")
    assert isinstance(clients.lookup(BLADE1, "labos/vmlinuz"), ImageFile)


def test_a_blade_that_cannot_be_planned_is_told(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    clients.adopt(Decision(bound("52:54:00:4d:00:03", IPv4Address("10.77.0.13"), 9e9), boots="blade3"))
    boot = clients.boots.current("blade3")
    assert boot is not None
    assert seen.of(BootStarted)[0].boot == boot.id
    assert seen.of(Trouble) == [], "planning is not waited for"
    assert [clients.plan_next(), clients.plan_next()] == [True, False]
    assert [trouble.detail for trouble in seen.of(Trouble)] == ["blade3 cannot be planned"]
    assert clients.lookup("10.77.0.13", "labos/vmlinuz") == Refusal("this boot has no plan: blade3 cannot be planned")


def test_what_does_not_count_of_a_persons_config_is_told(tmp_path: Path) -> None:
    daemon = {"path": "/etc/docker/daemon.json", "contents": {"source": "data:,%7B%22hosts%22:%5B%5D%7D"}}
    config = BaseConfig("own.yaml", {"ignition": {"version": "3.3.0"}, "storage": {"files": [daemon]}})
    lab, seen = make_lab(), Seen()

    def planned(blade: Blade, boot: str, secrets: BootSecrets) -> plans.Planned:
        return plans.prepare_with(plans.Own(), config, lab, blade, boot, secrets)

    clients = ClientBook(lab, BootBook(lab, KEY, tmp_path / "boots.json", planned), tmp_path / "leases.json", seen)
    clients.begun(clients.boots.begin("blade1", "power"))
    [note] = seen.of(Note)
    assert note.blade == "blade1" and "'hosts' does not count" in note.detail
    assert seen.of(Trouble) == []


def test_a_boot_that_another_has_followed_is_not_planned(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    clients.adopt(Decision(bound("52:54:00:4d:00:03", IPv4Address("10.77.0.13"), 9e9), boots="blade3"))
    clients.begun(clients.boots.begin("blade3", "power"))
    assert clients.plan_next() and not clients.plan_next()
    assert len(seen.of(BootStarted)) == 2 and len(seen.of(Trouble)) == 1


def test_events_are_stamped_with_blade_and_boot(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    clients.adopt(Decision(clients.leases, boots="blade1"))
    [begun] = seen.of(BootStarted)
    clients.emit(Transfer(protocol="tftp", path="x", state="missing", address=BLADE1))
    clients.emit(Dhcp(blade="blade1", mac=MAC, message="DISCOVER"))
    assert [(event.blade, event.boot) for event in seen.events] == [("blade1", begun.boot)] * 3


def test_strangers_cannot_fill_the_disk(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    for number in range(500):
        clients.emit(Transfer(protocol="http", path=str(number), state="missing", address="10.77.0.99"))
    clients.emit(Ticket(blade="blade1", state="refused"))  # what concerns a blade is always told
    assert len(seen.of(Transfer)) == FOREIGN_EVENTS
    assert len(seen.of(Ticket)) == 1


def test_an_unknown_machine_is_told_once(tmp_path: Path) -> None:
    seen = Seen()
    clients = make_clients(tmp_path, seen)
    for mac in (STRANGER, STRANGER, "00:00:5e:00:53:98", STRANGER):
        clients.emit(UnknownMachine(mac=mac, adopt=""))
    assert [event.mac for event in seen.of(UnknownMachine)] == [STRANGER, "00:00:5e:00:53:98"]
    clients.emit(UnknownMachine(mac=STRANGER, adopt="", client="pxe"))
    assert seen.of(UnknownMachine)[-1].client == "pxe", "its system asked before, and its firmware says more"
    for number in range(3 * UNKNOWN_KEPT):
        clients.emit(UnknownMachine(mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", adopt=""))
    assert len(clients._unknown) == UNKNOWN_KEPT


# --- paths ---


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/labos/vmlinuz", "labos/vmlinuz"),
        ("///labos//./vmlinuz", "labos/vmlinuz"),
        (r"\labos\vmlinuz", "labos/vmlinuz"),
        ("", None),
        ("/", None),
        ("./.", None),
        ("../x", None),
        ("a/../b", None),
        (r"a\..\b", None),
        ("a/..", None),
        ("a\0b", None),
        ("a\nb", None),
        ("..a/b..", "..a/b.."),
        ("x" * 513, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_paths(path: str, expected: str | None) -> None:
    assert plain(path) == expected
