"""This machine: its memory, its uplink, and how processes are shut in on it."""
