"""Ignition's specifications 2.x and 3.x: their fields, their rules, merging and upgrading."""
