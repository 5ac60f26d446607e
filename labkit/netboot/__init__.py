"""The boot server: DHCP, TFTP and HTTP in one unprivileged process.

Pure cores: the codecs, which are the faces of `dhcp` and `tftp`, `dhcp.decide` (what a message gets), `tftp.session`
(one transfer). Thin shells around them: `dhcp.server`, `tftp.server`, `http.server`, tied together by `bootd`.
`clients` knows which blade speaks from an address and what it may have. `boot_client` asks as a blade's firmware does.

Import from the modules: a face here would bring aiohttp to those who need a codec.
"""
