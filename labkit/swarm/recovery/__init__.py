"""What keeps a swarm through years: copies of its state, its certificates, and ways back when it does not answer."""
