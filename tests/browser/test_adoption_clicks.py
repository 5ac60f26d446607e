"""From a lab without a blade to three that are in the swarm: adopted by three clicks, and by one command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from labkit.events.unknown_machines import unknown_machines
from labkit.lab.process import rpc
from labkit.servers.client import ensure_blades
from labkit.swarm import cluster
from tests.rig.front_door import FrontDoor, new_lab
from tests.rig.jupyter import TOKEN, bring_to_view, expect, workbook
from tests.rig.person import Person
from tests.rig.walker import Walker

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.soak]
MACS = [f"00:00:5e:00:53:0{digit}" for digit in "123"]
TEXT = """\
# The chassis in the cellar

name: cellar
boot: ipxe # all of them

# What hums is listed here.
blades: []

network:
  subnet: 10.92.0.0/24 # nobody else's
"""
ADOPTED = TEXT.replace(
    "blades: []\n",
    "blades:\n"
    + "".join(
        f'  - name: blade{number}\n    slot: {number}\n    macs: ["{mac}"]\n' for number, mac in enumerate(MACS, 1)
    ),
)
BOOT_S, ASK_S = 400.0, 90.0
SOON = 30_000


@pytest.fixture
def lab(person: Person) -> Iterator[FrontDoor]:
    """A lab without a blade, with three machines that are switched on, one after the other, and have asked.

    In a virtual chassis nothing is in a slot that is no blade's. So each machine is a blade until it is on, and is then
    struck from the file: what is on in a slot stays on, and asks as a stranger.
    """
    with new_lab(person.folder("cellar"), TEXT, person) as door:
        done = door("up", timeout_s=180)
        assert done.returncode == 0, done.stderr
        for slot, mac in enumerate(MACS, 1):
            told = door("adopt", mac, "--slot", str(slot), timeout_s=60)
            assert told.returncode == 0, told.stderr
            running = door.connect()
            running.power(running.lab.blades[0], "on")
            (door.folder / "lab.yaml").write_text(TEXT)
            rpc.call(running.state.control, "reload", timeout_s=60)
            wait_asked(door, mac)
        yield door


def wait_asked(door: FrontDoor, mac: str) -> None:
    """Wait until a machine has asked as one that is in no lab file."""
    end = time.monotonic() + ASK_S
    while mac not in [one.macs[0] for one in unknown_machines(door.connect().events())]:
        assert time.monotonic() < end, door("machines", timeout_s=60).stdout
        time.sleep(0.3)


def wait_joined(door: FrontDoor) -> None:
    """Wait until all three have booted and are in the swarm."""
    running = door.connect()
    assert [blade.name for blade in running.lab.blades] == ["blade1", "blade2", "blade3"]
    with running.engine() as engine:
        cluster.ensure_swarm_of(engine, running.lab)
        ensure_blades(running, running.lab.blades, until="joined", timeout_s=BOOT_S)
        nodes = cluster.wait_nodes(engine, [blade.name for blade in running.lab.blades], 60)
    assert all(node.ready for node in nodes)


def test_three_machines_are_adopted_by_three_clicks_and_by_one_command(browser: Browser, lab: FrontDoor) -> None:
    with workbook(lab) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 1600})
        walker = Walker(context.new_page(), by_keyboard=False)
        walker.page.goto(f"{address}/lab/workspaces/adopt/tree/01-pxe-setup.ipynb?reset&token={TOKEN}")
        walker.wait_front("01-pxe-setup")
        walker.run_to(1)
        buttons = walker.panel.locator(".lk-adopt button:visible", has_text="Adopt")
        bring_to_view(walker.panel.locator(".lk-adopt"))
        walker.look("asked")
        for number, mac in enumerate(MACS, 1):
            walker.press(buttons.first)
            expect(walker.panel.locator(".lk-adopt .lk-said")).to_contain_text(
                f"blade{number}: slot {number}", timeout=SOON
            )
            expect(buttons).to_have_count(3 - number, timeout=SOON)
            assert f'["{mac}"]' in (lab.folder / "lab.yaml").read_text()
        expect(walker.panel.locator(".lk-adopt").get_by_role("button", name="Look again")).to_be_focused(timeout=SOON)
        walker.look("adopted")
        assert (lab.folder / "lab.yaml").read_text() == ADOPTED
        walker.run_next()
        expect(walker.panel.locator("button.labkit-slot")).to_have_count(3, timeout=SOON)
        walker.go_on(2)
        wait_joined(lab)
        walker.wait_ran(200)
        board = walker.panel.locator(".labkit-board")
        expect(board).to_contain_text("3 of 3 in the swarm", timeout=30_000)
        bring_to_view(board)
        walker.look("adopted-and-joined")
        context.close()
    for name in ("blade3", "blade2", "blade1"):
        assert lab("forget", name, timeout_s=60).returncode == 0
    assert (lab.folder / "lab.yaml").read_text() == TEXT
    told = lab("adopt", "--all", timeout_s=60)
    assert told.returncode == 0 and "knows blade1, blade2, blade3 now" in told.stdout, told.stdout + told.stderr
    assert (lab.folder / "lab.yaml").read_text() == ADOPTED
    running = lab.connect()
    assert {running.power_state(blade) for blade in running.lab.blades} == {"on"}
    with running.engine() as engine:
        assert all(node.ready for node in cluster.wait_nodes(engine, ["blade1", "blade2", "blade3"], 60))
