"""The swarm: made and joined (`cluster`), kept in order (`swarmd`), given work (`services`), and its registry.

The Docker SDK is the only way to engines. Import from the modules: a face here would bring that SDK to all of them.
`node`, `membership.reconcile`, `membership.tokens`, `services.spec` and `services.health` are pure.
"""
