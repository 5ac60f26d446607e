"""The page that reports and replays are written on: one HTML file that needs nothing else, light and dark."""

from __future__ import annotations

from labkit.pictures.svg import esc

STYLE = """
:root { color-scheme: light dark; --jp-ui-font-color1: #1b1b1f; --jp-ui-font-color2: #55555e;
  --jp-layout-color1: #ffffff; --jp-layout-color2: #efeff2; --jp-border-color1: #b9b9c2; --jp-brand-color1: #1f6fb2;
  --jp-ui-font-family: system-ui, sans-serif; --jp-code-font-family: ui-monospace, monospace; }
@media (prefers-color-scheme: dark) { :root { --jp-ui-font-color1: #ececf0; --jp-ui-font-color2: #b4b4be;
  --jp-layout-color1: #17171a; --jp-layout-color2: #26262b; --jp-border-color1: #5b5b66; --jp-brand-color1: #6db3ee; } }
body { font: 15px/1.55 var(--jp-ui-font-family); color: var(--jp-ui-font-color1); background: var(--jp-layout-color1);
  max-width: 880px; margin: 0 auto; padding: 24px }
a { color: var(--jp-brand-color1) }
h1, h2, h3 { line-height: 1.25; margin: 1.6em 0 .5em }
pre, code, kbd { font-family: var(--jp-code-font-family); font-size: 12.5px }
pre { background: var(--jp-layout-color2); padding: 8px 12px; overflow-x: auto; border-radius: 4px; line-height: 1.45 }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }
th, td { border: 1px solid var(--jp-border-color1); padding: 4px 9px; text-align: left }
figure { margin: 18px 0 } figcaption { font-weight: 600; margin-bottom: 6px }
.anchor-link { text-decoration: none; opacity: .35; margin-left: .3em }
details > summary { cursor: pointer; font-weight: 600; margin: 14px 0 }
.cell-in { border-left: 3px solid var(--jp-border-color1); margin-top: 14px }
.cell-in pre { margin: 0; border-radius: 0 }
.cell-out { margin: 4px 0 4px 3px; padding-left: 12px }
.cell-out pre { background: none; padding: 4px 0; white-space: pre-wrap }
blockquote { border-left: 3px solid var(--jp-border-color1); margin: 0 0 0 3px; padding: 1px 14px;
  background: var(--jp-layout-color2); border-radius: 0 4px 4px 0 }
.failed { border-left: 4px solid #c03a44; padding-left: 12px }
button, input[type=range] { font: inherit; vertical-align: middle } input[type=range] { width: min(520px, 60vw) }
"""


def render_page(title: str, body: str, *, script: str = "", style: str = "") -> str:
    """A whole page. ``body`` is HTML; ``style`` comes after the page's own."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{esc(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{style}</style></head>\n'
        f"<body><main>{body}</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def figure(caption: str, svg: str) -> str:
    """A picture with a caption."""
    return f"<figure><figcaption>{esc(caption)}</figcaption>{svg}</figure>"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of words."""
    top = "".join(f'<th scope="col">{esc(word)}</th>' for word in head)
    body = "".join("<tr>" + "".join(f"<td>{esc(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
