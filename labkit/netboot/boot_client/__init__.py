"""A boot client of our own: asks for what firmware and loaders ask for, packet by packet.

`firmware` (what firmwares say), `scripts` (what loaders read) and `checks` (whether a file is whole) are pure.
`transport` speaks DHCP, TFTP and HTTP; `walkthrough` is the walk, in a process and a network namespace of its own.
"""
