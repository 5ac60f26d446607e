"""The lab's registry: what is put in, what lies in it, and what can go."""
