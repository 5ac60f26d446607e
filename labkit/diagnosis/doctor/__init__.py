"""The doctor: what a lab needs of this machine and of its network, looked at before anything boots.

``facts`` are what was found, ``findings`` (pure) what that means and what to do about it, ``firewall`` (pure) reads
rules. ``probe`` looks at the machine, ``ask`` asks the network which DHCP servers are there, ``visit`` does all of it.
"""
