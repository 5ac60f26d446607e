"""A lab's plan as configuration of other people's servers: values in, text out.

Each renderer takes a `Wanted` and gives the text of one file; `matchbox` gives several, and wants the blades' plans.
"""

from labkit.boot.export.rules import Wanted

__all__ = ["Wanted"]
