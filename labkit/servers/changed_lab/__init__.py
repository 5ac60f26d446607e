"""A lab file that was changed while its lab is up: blades that came or went are taken in without a restart.

`take_in` is the supervisor's part of that, `tell` has a client ask for it and say what came of it.
"""
