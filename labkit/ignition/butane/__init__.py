"""Butane: its own rules, and what it lowers to Ignition."""
