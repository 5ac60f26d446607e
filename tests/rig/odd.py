"""A name that a folder may have, with whatever means something to a shell, a configuration or a URL."""

ODD = """my "own" lab's, $HOME #1 100%h \\ {x};?"""
