"""A blade's boot as one value (`plan`), and the bytes a blade may ask for, rendered from it. PURE.

The names come from `boot_plan` when they are asked for: who needs the table of loaders alone waits for no templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.boot.boot_plan import BootPlan, ImageFile, Rendered, Resource, archive, plan, plan_bare, resources, tree
    from labkit.boot.overlay import BaseConfig, BootSecrets
    from labkit.boot.systems import SYSTEMS, Release

__all__ = [
    "SYSTEMS", "BaseConfig", "BootPlan", "BootSecrets", "ImageFile", "Release", "Rendered", "Resource", "archive",
    "plan", "plan_bare", "resources", "tree",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'labkit.boot' has no attribute {name!r}")
    from labkit.boot import boot_plan

    return getattr(boot_plan, name)
