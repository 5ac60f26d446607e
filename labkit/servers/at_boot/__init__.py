"""Power that comes back: which blades are wanted on, and how they are switched on when this machine boots.

`wanted` remembers, `waves` (pure) says who comes when, `switch_on` does it.
"""
