"""Pictures of a lab, drawn from folded events: an SVG and the same in words.

PURE: no files, no clock (``now`` is passed in), no IPython. A picture is a `Picture`; a notebook shows it as it
is, a report takes its ``svg``, a terminal its ``text``.
"""

from labkit.pictures.svg import Picture

__all__ = ["Picture"]
