"""The doctor: what a lab needs of this machine and of its network, looked at before anything boots.

`facts` are what was found, `findings` what that means and what to do about it, `firewall` (pure) reads rules. `probe`
looks at the machine, `dhcp_servers` asks the network which DHCP servers are there, `examination` does all of it.
"""
