"""``labkit VERB``: one module a group of verbs, each a thin command over what notebooks call too."""

from __future__ import annotations

from labkit.cli.commands import (
    main,
)

__all__ = [
    "main",
]  # fmt: skip
