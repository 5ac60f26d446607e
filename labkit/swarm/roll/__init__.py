"""Every blade boots the newest image and config, one after the other, while services go on. PURE.

`survey` says which blades that is about, `turns` what a roll is made of, `steps` what is to be done next, and `spread`
which services have come to lie on few blades by it. `labkit.servers.roll` looks, and carries out.
"""
