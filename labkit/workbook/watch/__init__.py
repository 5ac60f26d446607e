"""``./lab watch``: one lab, live, as a page on loopback and as text in a terminal.

::

    live_events  a lab's events, folded as far as they have been read
    follower     looks at a lab, up or not: its events, whether it is up, what its swarm's engine says
    view         PURE: what was seen as the parts of a page, and in words
    page         PURE: the page that the parts are put into, with its script
    server       the page, its stream and its buttons, for this machine's browsers alone
    screen       the words in a terminal, redrawn in place
"""
