"""Who is in the swarm: tokens, managers, leaving, and what becomes of nodes that are gone."""
