"""What each process of a lab starts with: what it is told, its control socket, and its last words."""
