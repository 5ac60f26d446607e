"""The boot server: DHCP, TFTP and HTTP in one unprivileged process.

Pure cores: `dhcp`, `tftp` (codecs), `decide` (what a DHCP message gets), `tftp_session` (one transfer). Thin shells
around them: `dhcpd`, `tftpd`, `httpd`, tied together by `bootd`. `roster` knows which blade speaks from an address and
what it may have.
"""
