"""Templated text: one jinja2 environment for all artifacts."""

from __future__ import annotations

from functools import lru_cache

import jinja2

from labkit.lab.plain_text import is_loaders


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("labkit.boot.artifacts"),
        auto_reload=False,  # else each rendering looks at the template's file again
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # boot configurations and units, never HTML
    )


def screen_line(words: str) -> str:
    """Words as a line for a firmware's screen: ASCII, and nothing in it that iPXE would expand or run."""
    plain = "".join(one if one.isascii() and one.isprintable() else "?" for one in words).replace("${", "$ {")
    return " ".join("?" if is_loaders(one) else one for one in plain.split(" "))


def render_text(template: str, **values: object) -> str:
    """The text of ``templates/<template>.j2``. A name the template wants and was not given raises jinja2's error."""
    return _environment().get_template(f"{template}.j2").render(**values)
