"""The controller, and the engine it has: the lab's own, or this machine's."""
