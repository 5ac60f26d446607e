"""Container Linux Config, the way ct reads it."""
