"""PURE drawings: values in, SVG out, and beside each the same in words. Notebooks and files show the same picture.

No files, no clock (``now`` is passed in), no IPython. A picture is a `Picture`; a notebook shows it as it is, a report
takes its ``svg``, a terminal its ``text``.
"""

from labkit.pictures.svg import Picture

__all__ = ["Picture"]
