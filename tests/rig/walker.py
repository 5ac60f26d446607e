"""A person at the workbook's window: with the mouse, or with the keyboard alone."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.rig.jupyter import DARK, LIGHT, OURS, Book, bring_to_view

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TABS = "#jp-main-dock-panel > .lm-TabBar .lm-TabBar-tab"
MOST_TABS, MOST_CELLS = 120, 40
BELOW = "Run Selected Cell and All Below"
IS_BEFORE = (
    "element => Boolean(document.activeElement.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_PRECEDING)"
)
IS_FOCUSED = "element => element === document.activeElement"


@dataclass
class Walker:
    """Somebody before one window of JupyterLab, in which one notebook after the other comes to the front."""

    page: Page
    by_keyboard: bool

    @property
    def panel(self) -> Locator:
        """The notebook in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def book(self) -> Book:
        return Book(self.page, self.page.locator(f"{TABS}.lm-mod-current").inner_text())

    def press(self, target: Locator) -> None:
        """Press a button or a link in an output: click it, or go there with the Tab key and press a key."""
        if not self.by_keyboard:
            bring_to_view(target)
            target.click()
            return
        self.go_to(target)
        is_link = target.evaluate("element => element.tagName") == "A"
        self.page.keyboard.press("Enter" if is_link else "Space")

    def go_to(self, target: Locator) -> None:
        """Go to what takes the keyboard, with the Tab key: backwards where it lies before the place one is at."""
        target.wait_for()
        back = target.evaluate(IS_BEFORE)
        for _ in range(MOST_TABS):
            if target.evaluate(IS_FOCUSED):
                return
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
        where = self.page.evaluate("document.activeElement.outerHTML.slice(0, 300)")
        raise AssertionError(f"the Tab key does not come to {target}: it is at {where}")

    def go_in(self) -> None:
        """Go to the notebook in front, with the Tab key, where the keyboard is elsewhere."""
        for _ in range(MOST_TABS):
            if self.panel.locator(".jp-Notebook").evaluate("book => book.contains(document.activeElement)"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError("the Tab key does not come to the notebook")

    def command(self, menu: str, words: str) -> None:
        """Choose from the menu bar, or by its words in the command palette."""
        if not self.by_keyboard:
            self.book.menu(menu, words)
            return
        self.page.keyboard.press("Control+Shift+C")
        palette = self.page.locator(".lm-CommandPalette-input")
        palette.fill(words)
        self.page.keyboard.press("Enter")

    def wait_front(self, name: str) -> None:
        """Wait until a notebook is in front."""
        self.page.locator(f"{TABS}.lm-mod-current", has_text=name).wait_for()
        self.panel.locator(".jp-Cell").first.wait_for()

    def open(self, name: str) -> None:
        """Open a chapter from the file browser, or by its name."""
        if self.by_keyboard:
            self.page.keyboard.press("Control+Shift+C")
            self.page.locator(".lm-CommandPalette-input").fill("Open from Path")
            self.page.keyboard.press("Enter")
            field = self.page.locator(".jp-Dialog input")
            field.fill(f"{name}.ipynb")
            self.page.keyboard.press("Enter")
        else:
            self.page.locator(".jp-DirListing-item", has_text=name).dblclick()
        self.wait_front(name)

    def bring(self, name: str) -> None:
        """Bring an open notebook to the front."""
        tab = self.page.locator(TABS, has_text=name)
        for _ in range(9):
            if "lm-mod-current" in (tab.get_attribute("class") or ""):
                return
            if self.by_keyboard:
                self.page.keyboard.press("Control+Shift+]")
            else:
                tab.click()
            self.page.wait_for_timeout(300)
        raise AssertionError(f"{name} does not come to the front")

    def write(self, area: Locator, text: str) -> None:
        """Put another text into a text area."""
        if self.by_keyboard:
            self.go_to(area)
        else:
            area.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Tab")

    def go_on(self, number: int) -> None:
        """Run this code cell and all below it."""
        if self.by_keyboard:
            self.page.keyboard.press("Escape")
            for _ in range(9):
                if self.cell(number).evaluate("cell => cell.classList.contains('jp-mod-active')"):
                    break
                self.page.keyboard.press("ArrowDown")
        else:
            self.cell(number).locator(".jp-InputPrompt").click()
        self.command("Run", BELOW)

    def cell(self, number: int) -> Locator:
        """A code cell of the notebook in front, counted from 0."""
        return self.panel.locator(".jp-CodeCell").nth(number)

    def run_to(self, number: int) -> None:
        """Run the cells from where it is up to this code cell, one after the other."""
        self.book.wait_idle()
        if self.by_keyboard:
            self.go_in()
        elif not self.ran(0):
            self.panel.locator(".jp-Cell").first.click()
        for _ in range(MOST_CELLS):
            if self.ran(number):
                return
            self.run_next()
        raise AssertionError(f"code cell {number} has not run: {self.book.prompts()}")

    def run_next(self) -> None:
        """Run the cell that JupyterLab takes for the next: that in which something was pressed or typed last."""
        if self.by_keyboard:
            self.page.keyboard.press("Shift+Enter")
        else:
            self.panel.locator("[data-jp-item-name='run']").first.click()
        self.page.wait_for_timeout(500)
        self.book.wait_idle()

    def ran(self, number: int) -> bool:
        return bool(re.search(r"[\d*]", self.cell(number).locator(".jp-InputPrompt").text_content() or ""))

    def wait_ran(self, timeout_s: float) -> None:
        """Wait until every cell of the notebook in front has run well."""
        deadline = time.monotonic() + timeout_s
        prompts = self.panel.locator(".jp-CodeCell .jp-InputPrompt")
        while not all(re.search(r"\d", text) for text in prompts.all_text_contents()):
            wrong = self.panel.locator(".labkit-error")
            assert not wrong.count(), wrong.first.inner_text()
            assert time.monotonic() < deadline, prompts.all_text_contents()
            self.page.wait_for_timeout(300)

    def findings(self) -> list[str]:
        """What axe finds wrong in our outputs, of whatever kind."""
        from axe_playwright_python.sync_playwright import Axe

        found: Any = Axe().run(self.page, context=OURS)
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:300]}"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]

    def shoot(self, name: str) -> None:
        """Keep a picture of the window."""
        self.book.shoot(f"{name}-by-{'keyboard' if self.by_keyboard else 'mouse'}")

    def look(self, name: str) -> None:
        """Keep a picture in each theme, in which axe finds nothing in our outputs."""
        for theme in (LIGHT, DARK):
            self.book.theme(theme)
            self.shoot(f"{name}-{theme.split()[1].lower()}")
            found = self.findings()
            assert found == [], found
        self.book.theme(LIGHT)
