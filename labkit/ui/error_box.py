"""A failing cell ends in one box: what happened, where, why, what to do, where it is explained; the traceback folded.

`install` puts it in place of IPython's traceback. The cell still fails: a few plain lines go with the box as an
``error`` output, so that papermill, ``./lab run`` and "Run All" stop as they always do.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from labkit.diagnosis import hints
from labkit.diagnosis.causes import explain
from labkit.errors import LabFileError, LabkitError
from labkit.events import stages
from labkit.lab import Lab
from labkit.pictures.svg import esc

MOST_LINES = 6
_STYLE = (
    "<style>.labkit-error{border:1px solid var(--jp-border-color1,#999);border-left:6px solid #c03a44;"
    "border-radius:6px;padding:10px 16px;max-width:760px;"
    "color:var(--jp-ui-font-color1,inherit);background:var(--jp-layout-color1)}"
    ".labkit-error .lk-title{margin:0 0 8px;font-size:15px;font-weight:600}"
    ".labkit-error dl{display:grid;margin:0 0 8px;gap:6px 14px;"
    "grid-template-columns:max-content auto}.labkit-error dt{white-space:nowrap;width:auto;font-weight:600}"
    ".labkit-error dd{margin:0;width:auto;white-space:pre-line;overflow-wrap:anywhere}"
    ".labkit-error a{color:var(--jp-content-link-color,LinkText);"
    "text-decoration:underline}.labkit-error summary{cursor:pointer}.labkit-error pre{font-size:11px;overflow-x:auto;"
    "color:inherit;background:none}</style>"
)


@dataclass(frozen=True)
class Box:
    """What the box says. Empty fields are left out."""

    title: str
    what: str
    where: str = ""
    why: str = ""
    do: str = ""
    link: str = ""
    section: str = ""
    trace: str = ""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Headings and their text, in order."""
        rows = [("What happened", self.what), ("Where", self.where), ("Why", self.why), ("What to do", self.do)]
        return [(name, words) for name, words in rows if words]

    @property
    def html(self) -> str:
        """The box as HTML."""
        rows = "".join(f"<dt>{esc(name)}</dt><dd>{esc(words)}</dd>" for name, words in self.rows)
        if self.link:
            rows += f'<dt>More</dt><dd><a href="{esc(self.link)}">{esc(self.section)}</a></dd>'
        trace = f"<details><summary>The traceback</summary><pre tabindex=0>{esc(self.trace)}</pre></details>"
        return (
            f'{_STYLE}<section class="labkit-error" aria-label="error">'
            f'<p class="lk-title" role="alert">✕ {esc(self.title)}</p>'  # no heading: it would skip the page's levels
            f"<dl>{rows}</dl>{trace if self.trace else ''}</section>"
        )

    @property
    def text(self) -> str:
        """The box in words."""
        lines = [f"✕ {self.title}", *(f"{name}: {words}" for name, words in self.rows)]
        return "\n".join([*lines, f"More: {self.section} ({self.link})"] if self.link else lines)


def make_box(error: BaseException, *, lab: Lab | None = None, state: stages.LabState | None = None) -> Box:
    """The box of an error. With a lab and what its events fold to, blades that the error names tell what was seen."""
    hint = hints.match_error(error)
    what, where, do = str(error) or type(error).__name__, "", ""
    if isinstance(error, LabFileError):
        what = str(error)
    elif isinstance(error, LabkitError):
        what, where, do = error.what, error.where, error.fix
    elif isinstance(error, AssertionError):
        what = str(error) or f"this does not hold: {_failed_line(error)}"
    why = hint.why if hint else ""
    if lab is not None and state is not None and isinstance(error, LabkitError):
        seen = _seen(what, lab, state)
        if seen is not None:
            hint = seen[1] or hint
            why = "\n".join(word for word in (hint.why if hint else why, seen[0]) if word)
    do = "\n".join(dict.fromkeys(word for word in (do, hint.do if hint else "") if word))
    return Box(
        title=f"This cell stopped: {type(error).__name__}",
        what=what, where=where, why=why, do=do,
        link=hint.link if hint else "", section=hint.section if hint else "", trace=_trace(error),
    )  # fmt: skip


def _seen(what: str, lab: Lab, state: stages.LabState) -> tuple[str, hints.Hint | None] | None:
    """What was seen of the first blade that an error names and that is on its way."""
    for blade in lab.blades:
        now = state.blade(blade.name)
        if blade.name in what and now.stage in stages.STAGES:
            seen, causes = explain(lab, blade, state)
            words = [f"{blade.name}: {seen}."] + [f"– {cause.what}" for cause in causes[:3]]
            found = hints.match_events(state, [blade.name])
            return "\n".join(words), found[0][1] if found else None
    return None


def _failed_line(error: BaseException) -> str:
    """The source of the line that raised an error, as far as it is known."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "").removeprefix("assert ") if frames else ""


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) if error.__traceback__ is not None else ""


def install(shell: Any = None) -> None:
    """Let failing cells of this kernel end in the box. Does nothing outside IPython; may be called again."""
    shell = shell or get_ipython()
    if shell is not None and hasattr(shell, "set_custom_exc"):
        shell.set_custom_exc((Exception,), _show)


def _show(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType | None, tb_offset: Any = None
) -> list[str]:
    """IPython's handler (`InteractiveShell.set_custom_exc`)."""
    box = make_box(error, **_present())
    head = f"{kind.__name__}: {error}".splitlines()[:MOST_LINES]
    shell._showtraceback(kind, error, head)
    display({"text/html": box.html, "text/plain": box.text}, raw=True)
    return head


def _present() -> dict[str, Any]:
    """The lab and its state, where there are some: a box must come out also when nothing else works."""
    from labkit.lab import lab_yaml
    from labkit.servers import client
    from labkit.ui.live_events import present_stages

    try:
        lab = lab_yaml.load(client.find_lab())
        return {"lab": lab, "state": present_stages(lab)}
    except Exception:
        return {}
