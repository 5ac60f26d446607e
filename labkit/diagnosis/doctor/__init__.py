"""The doctor: what a lab needs of this machine and of its network, looked at before anything boots.

`facts` are what was seen; `checks`, and `network` among them, make `findings` of it, each with what to do about it.
`firewall` (pure) reads rules, `probe` looks at the machine, `dhcp_servers` asks the network which DHCP servers are
there, and `examination` does all the looking.
"""
