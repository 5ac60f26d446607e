"""A config as a person reads it: remarks with fixes, a linter for units, an explanation, a difference."""
