"""The virtual chassis: QEMU machines, their network, their controllers, their consoles."""
