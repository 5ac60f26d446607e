"""The machines: power over IPMI for any chassis, and the virtual chassis that answers it."""
