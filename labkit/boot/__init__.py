"""A blade's boot as one value (`plan`), and the bytes a blade may ask for, rendered from it. PURE."""

from __future__ import annotations

from labkit.boot.boot_plan import (
    CONSOLE_HINT,
    SHAPES,
    BaseConfig,
    BootPlan,
    BootSecrets,
    ImageFile,
    Rendered,
    Resource,
    Shape,
    archive,
    plan,
    plan_bare,
    resources,
    tree,
)

__all__ = [
    "CONSOLE_HINT", "SHAPES", "BaseConfig", "BootPlan", "BootSecrets", "ImageFile", "Rendered", "Resource", "Shape",
    "archive", "plan", "plan_bare", "resources", "tree",
]  # fmt: skip
