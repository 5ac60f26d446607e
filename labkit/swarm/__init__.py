"""The swarm: made and joined (`cluster`), kept in order (`desk`), given work (`service`, `registry`).

The Docker SDK is the only way to engines. ``node``, ``reconcile``, ``tokens``, ``spec`` and ``judge`` are pure.
"""
