"""The machines: power of every kind, and the virtual chassis, whose slots answer IPMI."""
