"""The releases of other people's systems: where they are kept, one folder a version, and which one is booted."""
