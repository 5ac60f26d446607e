"""The pen: a few SVG elements as text, in colours that a light and a dark page both bear.

Words and lines take JupyterLab's theme variables, and outside JupyterLab the page's own colour. Fills are of middle
brightness: a contrast of 3 to 1 and more on white as on near-black (WCAG 2.2, 1.4.11). Nothing is said by colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from labkit.lab.plain_text import harmless

INK = "var(--jp-ui-font-color1,currentColor)"
DIM = "var(--jp-ui-font-color2,currentColor)"
LINE = "var(--jp-border-color1,#8f8f8f)"
FAINT = "var(--jp-layout-color2,rgba(127,127,127,.16))"
PAPER = "var(--jp-layout-color1,Canvas)"
RED, GREEN, AMBER, BLUE, GREY = "#c03a44", "#2f8f5b", "#b8730f", "#3577b0", "#7a7f8c"
BRIGHT = "#ffffff"
"""For words on a fill."""
AS_OF_PX = 18
_NO_XML = dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Picture:
    """A drawing of ``width`` × ``height`` px, its ``title``, and ``text``: the same in words, a line a row."""

    title: str
    text: str
    width: int
    height: int
    body: str

    @property
    def svg(self) -> str:
        """The drawing, named and described for those who do not see it."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {self.width} {self.height}"'
            f' style="display:block;margin:6px 0;width:100%;max-width:{self.width}px;height:auto;overflow:visible;'
            f'font:12px var(--jp-ui-font-family,system-ui,sans-serif);fill:{INK}">'
            f"<title>{esc(self.title)}</title><desc>{esc(self.text)}</desc>{self.body}</svg>"
        )

    def dated(self, moment: float) -> Picture:
        """The same with the time of day at which it was true (wall-clock seconds): it stays while things go on."""
        words = as_of(moment)
        caption = text(0, self.height + AS_OF_PX - 5, words, fill=DIM, size=11)
        return replace(self, text=f"{self.text}\n{words}", height=self.height + AS_OF_PX, body=self.body + caption)

    @property
    def mimebundle(self) -> dict[str, str]:
        """What a notebook shows: the drawing as HTML, so that it takes the page's colours, and the words."""
        return {"text/html": self.svg, "text/plain": f"{self.title}\n{self.text}"}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.mimebundle


def as_of(moment: float) -> str:
    """``as of 14:03``, in this machine's zone."""
    return f"as of {datetime.fromtimestamp(moment):%H:%M}"


def esc(words: object) -> str:
    """Words as they may stand in an element or a double-quoted attribute, with nothing that XML forbids in them."""
    return html.escape(harmless(str(words)).translate(_NO_XML))


def text(
    x: float, y: float, words: object, *, fill: str = "", size: int = 0, anchor: str = "", bold: bool = False,
    mono: bool = False,
) -> str:  # fmt: skip
    """A line of words whose baseline starts (``anchor``: "middle", "end") at (x, y)."""
    style = "font-family:var(--jp-code-font-family,monospace);" if mono else ""
    style += f"font-size:{size}px;" if size else ""
    style += f"fill:{fill};" if fill else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}"'
        + (f' text-anchor="{anchor}"' if anchor else "")
        + (' font-weight="600"' if bold else "")
        + (f' style="{style}"' if style else "")
        + f">{esc(words)}</text>"
    )


def rect(
    x: float, y: float, width: float, height: float, fill: str, *, tip: str = "", edge: str = "", radius: float = 0,
    dashed: bool = False,
) -> str:  # fmt: skip
    """A box; ``tip`` is shown when the mouse rests on it, ``edge`` its outline."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}"'
        + (f' rx="{radius:g}"' if radius else "")
        + f' style="fill:{fill}'
        + (f";stroke:{edge}" if edge else "")
        + (";stroke-dasharray:4 3" if dashed else "")
        + '"'
        + (f"><title>{esc(tip)}</title></rect>" if tip else "/>")
    )


def line(
    x1: float, y1: float, x2: float, y2: float, *, stroke: str = LINE, width: float = 1, dashed: bool = False
) -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="stroke:{stroke};stroke-width:{width:g}'
        + (";stroke-dasharray:4 4" if dashed else "")
        + '"/>'
    )


def circle(x: float, y: float, radius: float, fill: str) -> str:
    """A disc."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="fill:{fill}"/>'


def arrow(x1: float, x2: float, y: float, *, stroke: str = INK) -> str:
    """A level arrow from x1 to x2."""
    back = -6 if x2 > x1 else 6
    head = f'<path d="M{x2:.1f} {y:.1f}l{back} -3.5v7z" style="fill:{stroke}"/>'
    return line(x1, y, x2 + back / 2, y, stroke=stroke) + head


def shorten(words: str, most: int) -> str:
    """Words cut to a number of letters."""
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def listing(title: str, lines: Iterable[str]) -> str:
    """Lines of text as HTML, in the page's colours; the keyboard reaches what is too wide."""
    style = (
        "margin:8px 0 0;padding:6px 10px;font-size:11px;line-height:1.5;overflow-x:auto;border-radius:4px;"
        f"background:{FAINT};color:inherit"
    )
    body = "\n".join(esc(line) for line in lines)
    return f'<pre tabindex="0" aria-label="{esc(title)}" style="{style}">{body}</pre>'
