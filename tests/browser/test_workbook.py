"""The workbook as a person uses it: JupyterLab in a real browser, on real virtual blades."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from labkit.lab import lab_yaml
from labkit.workbook.chapters import BRING_UP, source_of
from labkit.workbook.record import artifact_digests
from tests.rig.executed import ARTIFACTS, DIGESTS, Executed, asserts, read_executed, run_headless, shown_digests
from tests.rig.front_door import FRONT_DOOR, FrontDoor
from tests.rig.jupyter import DARK, LIGHT, Book, bring_to_view, expect, open_book

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
NOTEBOOKS = FRONT_DOOR.parent / "notebooks"
PROTOCOLS = {
    "01-pxe-setup": "said to each other", "02-ignition-authoring": "What Ignition wrote",
    "03-swarm-bootstrap": "joined the swarm", "04-nginx-service": "The ways that the requests took",
    "05-day-two": "went and came back",
}  # fmt: skip
"""Words of each chapter's sequence diagram."""
ALL_RAN = re.compile(r"^(\d+) of \1 sections ran$")


def in_both_themes(book: Book, name: str) -> None:
    """Keep a picture in each theme, and let axe look at our views in it."""
    for theme in (LIGHT, DARK):
        book.theme(theme)
        book.shoot(f"{name}-{theme.split()[1].lower()}")
        assert book.serious() == []
    book.theme(LIGHT)


def check_is_whole(run: Executed, chapter: str) -> None:
    """Every cell ran, in the order of the page, and every check in it held."""
    source = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text())["cells"]
    code = [cell for cell in source if cell["cell_type"] == "code"]
    assert run.order == [cell["id"] for cell in code]
    assert run.held == [check for cell in code for check in asserts(source_of(cell))] != []


def test_the_start_page_opens_by_itself(browser: Browser, address: str, door: FrontDoor) -> None:
    book = open_book(browser, address)
    book.run_all()
    book.wait_ran()
    page = book.page
    expect(page.locator(".labkit-table").first).to_contain_text("everything a lab runs is installed")
    expect(page.locator("svg", has_text="slot 2: blade2, worker, off")).to_be_visible()
    in_both_themes(book, "start")
    book.name = "00-start.ipynb"
    by_hand = read_executed(book.save(door.copies), "00-start")
    assert by_hand == read_executed(run_headless(door, "00-start"), "00-start")
    check_is_whole(by_hand, "00-start")
    mine, original = door.copies / book.name, door.folder / "notebooks" / book.name
    assert mine.read_bytes() != original.read_bytes() == (NOTEBOOKS / book.name).read_bytes(), "an original was changed"
    page.locator(".labkit-table a", has_text="01 · PXE").click()
    expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text="01-pxe-setup")).to_be_visible()
    page.close()


def test_blades_boot_before_ones_eyes_and_a_restart_disturbs_nothing(
    browser: Browser, address: str, door: FrontDoor
) -> None:
    book = open_book(browser, address, "01-pxe-setup.ipynb")
    page = book.page
    book.run_all()
    board = page.locator(".labkit-board")
    expect(board).to_contain_text("dhcp", timeout=60_000)
    bring_to_view(board)
    before = board.inner_html()
    page.wait_for_timeout(2000)
    assert board.inner_html() != before, "the time line stands still"
    book.shoot("booting-light")
    book.restart()
    book.run_all()
    expect(board).to_contain_text("dhcp", timeout=60_000)
    book.wait_ran()
    assert "blade1" in page.locator(".jp-OutputArea", has_text="booted:").last.inner_text()
    expect(page.locator("svg title", has_text=ALL_RAN)).to_be_attached()
    bring_to_view(board)
    in_both_themes(book, "booted")
    bring_to_view(page.locator("svg", has_text="said to each other"))
    book.shoot("sequence-light")
    leave_a_blade_out_and_choose_a_system(book, door)
    page.close()


def leave_a_blade_out_and_choose_a_system(book: Book, door: FrontDoor) -> None:
    """Click a slot, and a system with the keyboard: their words change, and so does what the next cells work on, as by
    a headless run's parameters. The lab file does not change."""
    lab_file = (door.folder / "lab.yaml").read_bytes()
    page = book.page
    first = page.locator("button.labkit-slot", has_text="blade1")
    bring_to_view(first)
    expect(first).to_have_class(re.compile("mod-active"))
    first.click()
    expect(first).to_contain_text("left out")
    expect(page.locator(".labkit-said").first).to_contain_text("Chosen: blade2.")
    in_both_themes(book, "chosen")
    for os in ("flatcar", "flatcar", "fedora-coreos", "flatcar"):
        page.locator("button.labkit-system", has_text=os).focus()
        page.keyboard.press("Space")
        expect(page.locator("button.labkit-system.mod-active")).to_have_text([f"● {os}"])
        expect(page.locator(".labkit-said").last).to_contain_text(f"./lab images fetch {os} fetches them")
    bring_to_view(page.locator(".labkit-said").last)
    in_both_themes(book, "system")
    expect(book.run_cell(3)).to_contain_text(re.compile(r"blade\s+blade2\s+boot\s+ipxe, flatcar"))
    by_click = read_executed(book.save(door.copies), "01-pxe-setup")
    by_parameter = read_executed(run_headless(door, "01-pxe-setup", blades=["blade2"], os="flatcar"), "01-pxe-setup")
    assert by_click.artifacts["fadd58b9"] == by_parameter.artifacts["fadd58b9"]
    assert (door.folder / "lab.yaml").read_bytes() == lab_file


def test_a_role_is_changed_with_the_keyboard_alone(browser: Browser, address: str) -> None:
    book = open_book(browser, address, "roles.ipynb")
    page = book.page
    book.run_all()
    book.wait_ran()
    expect(page.locator(".labkit-said")).to_contain_text("One manager (the controller)")
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Escape")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "blade1: worker":
            break
    page.keyboard.press("Space")
    expect(page.locator("button.labkit-role").first).to_have_text("blade1: ★ manager")
    expect(page.locator(".labkit-said")).to_contain_text("worse than one")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".labkit-said")).to_contain_text("3 managers (the controller, blade1, blade2): 1 may be lost")
    in_both_themes(book, "roles")
    expect(book.run_cell(1)).to_contain_text("'blade1': <Role.MANAGER: 'manager'>")
    page.close()


def test_three_errors_each_end_in_a_box(browser: Browser, address: str) -> None:
    book = open_book(browser, address, "errors.ipynb")
    page = book.page
    book.wait_idle()
    book.run_cell(0)
    book.wait_idle()
    for number, what, why in (
        (1, "no blade blade9 in lab.yaml", "Blades are called as lab.yaml calls them."),
        (2, "no such power state: explode", "What to do"),
        (3, "name 'swarm' is not defined", "A cell above has not run in this kernel"),
    ):
        box = book.run_cell(number).locator(".labkit-error")
        expect(box).to_contain_text(what)
        expect(box).to_contain_text(why)
        expect(box.locator("details")).not_to_have_attribute("open", "")
    in_both_themes(book, "errors")
    page.locator(".labkit-error summary").first.click()
    expect(page.locator(".labkit-error details pre").first).to_contain_text("Traceback")
    page.locator(".labkit-error a").first.click()
    expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text="99-help")).to_be_visible()
    page.close()


@pytest.mark.parametrize("chapter", [*BRING_UP, pytest.param("05-day-two", marks=pytest.mark.soak)])
def test_every_chapter_does_the_same_by_hand_and_headless(
    browser: Browser, address: str, door: FrontDoor, chapter: str
) -> None:
    """The same choices, the same artifacts, and every check held, in the order of the page."""
    shutil.copy(NOTEBOOKS / f"{chapter}.ipynb", door.copies)
    book = open_book(browser, address, f"{chapter}.ipynb")
    book.wait_idle()
    book.restart()  # the kernel of a test before keeps what was pressed there
    book.run_all()
    book.wait_ran(timeout_s=900 if chapter not in BRING_UP else 300)
    expect(book.page.locator("svg title", has_text=ALL_RAN)).to_be_attached()
    bring_to_view(book.page.locator("svg", has_text=PROTOCOLS[chapter]).first)
    in_both_themes(book, chapter)
    for sheet in book.page.locator(".lk-sheet").all():  # an editor's marks lie under its text
        text, marks = sheet.locator("textarea").bounding_box(), sheet.locator(".lk-marks").bounding_box()
        assert text is not None and marks is not None and abs(text["y"] - marks["y"]) < 2
    saved = book.save(door.copies)
    book.page.close()
    by_hand = read_executed(saved, chapter)
    assert by_hand == read_executed(run_headless(door, chapter), chapter)
    check_is_whole(by_hand, chapter)
    assert by_hand.artifacts.keys() == set(ARTIFACTS[chapter])
    assert by_hand.blades == {"blade1", "blade2"} and "blade1" in by_hand.choices[0]
    # What run.json has is made outside of the notebooks, and knows neither the lab's key nor its authority.
    lab = lab_yaml.load(door.folder / "lab.yaml")
    kept = artifact_digests(lab, lab.blades)
    assert shown_digests(saved) == (kept["blade1"] if DIGESTS in ARTIFACTS[chapter] else {})
