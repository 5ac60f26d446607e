"""A rehearsal: the boot of a blade walked by packets, as its firmware and loaders would, without powering it on.

``firmware`` (what firmwares say), ``scripts`` (what loaders read) and ``checks`` (whether a file is whole) are pure.
``wire`` speaks DHCP, TFTP and HTTP; ``walk`` is the walk, in a process and a network namespace of its own; ``stage``
makes that namespace, on the supervisor's side; ``tried`` asks for a rehearsal and tells what came of it.
"""
