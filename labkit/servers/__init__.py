"""What runs while a lab is up: the supervisor and its processes, bringing it up and down, and its client."""
