"""The page that a service serves: a link a blade, and the page itself, as this kernel fetched it.

The copy is there in a report and without a browser too, and in a browser on another machine, which the links of a
virtual lab do not reach.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from IPython.display import display

from labkit.events.tables import grid
from labkit.pictures.svg import esc
from labkit.swarm.services.http_probe import Answer
from labkit.workbook.next_steps import url

_STYLE = (
    "<style>.labkit-page{margin:0;max-width:728px;color:var(--jp-ui-font-color1,inherit)}"
    ".labkit-page ul{margin:0 0 10px;padding-left:20px}.labkit-page figcaption{font-weight:600;margin-bottom:4px}"
    ".labkit-page a{color:var(--jp-content-link-color,LinkText);text-decoration:underline}"
    ".labkit-page iframe{width:100%;height:140px;box-sizing:border-box;"
    "border:1px solid var(--jp-border-color1,#8f8f8f);border-radius:4px;background:#fff;color-scheme:light}</style>"
)


def show_page(answers: Iterable[Answer], port: int) -> None:
    """Show where the page is, by blade, and the page that the first good answer brought."""
    good = {answer.blade: answer for answer in reversed(list(answers)) if answer.ok}
    found = [good[blade] for blade in sorted(good)]
    if not found:
        print("no blade answered")
        return
    rows = [[one.blade, url(one.address, port), one.replica] for one in found]
    items = "".join(
        f'<li><a href="{esc(link)}" target="_blank" rel="noopener">{esc(link)}</a> at {esc(blade)}'
        + (f", where {esc(replica)} answered</li>" if replica else "</li>")
        for blade, link, replica in rows
    )
    caption = f"The page that came from {found[0].blade}"
    # sandbox: what a service serves is not to reach into the notebook.
    frame = f'<iframe title="{esc(caption)}" sandbox="" srcdoc="{html.escape(found[0].body)}"></iframe>'
    figure = f"<ul>{items}</ul><figcaption>{esc(caption)}</figcaption>{frame}"
    text = "\n".join([grid(["blade", "page", "answered by"], rows), "", caption, found[0].body.rstrip()])
    display({"text/html": f'{_STYLE}<figure class="labkit-page">{figure}</figure>', "text/plain": text}, raw=True)
