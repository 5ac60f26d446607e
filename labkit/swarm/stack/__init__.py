"""Stacks as people write them: `explain` (pure) says beforehand what will not work on these nodes, `surroundings` asks
the engine for what that needs to know. `labkit.servers.stack` hands the files to Docker's own client, and watches.
"""
