"""The processes that a lab's supervisor starts: what each is started with, and how it is kept running."""
