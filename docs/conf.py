"""How Sphinx makes a site of README, the pages of `docs/` and the notebooks: ``./lab docs``.

Sphinx, since it reads Markdown and notebooks as they are (by MyST-NB), and is alive. The theme fetches nothing, so that
the site can be read beside a rack without the internet.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "labkit"
html_title = "labkit"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "notebooks/*.ipynb"]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nb_execution_mode = "off"
html_theme = "furo"
html_show_copyright = False
html_show_sourcelink = False

CONTENTS = """
```{toctree}
:hidden:
:caption: The workbook
:glob:
notebooks/*
```

```{toctree}
:hidden:
:caption: Pages
:glob:
docs/*
```

```{toctree}
:hidden:
:caption: The project
CONTRIBUTING
SECURITY
CHANGELOG
```
"""
"""What GitHub does not need: the list of pages beside each page."""


PICTURE = re.compile(
    r'<picture>.*?srcset="(?P<dark>[^"]*)".*?src="(?P<light>[^"]*)".*?alt="(?P<alt>[^"]*)".*?</picture>', re.DOTALL
)
"""A picture for both themes, as GitHub has it."""


def setup(app: Sphinx) -> None:
    """Sphinx's hook for a configuration that does something."""
    app.connect("source-read", adapt)


def adapt(app: Sphinx, name: str, source: list[str]) -> None:
    """Change a page's text as it is read.

    JupyterLab's anchors have capitals, those of GitHub and Sphinx have none; the theme chooses pictures by their class.
    """
    text = re.sub(r"(\]\([\w./-]*#)([^)]+)", lambda found: found[1] + found[2].lower(), source[0])
    source[0] = PICTURE.sub(r"![\g<alt>](\g<light>){.only-light}\n![\g<alt>](\g<dark>){.only-dark}", text)
    if name == root_doc:
        source[0] += CONTENTS
