"""A rehearsal: the boot of a blade walked by packets, as its firmware and loaders would, without powering it on.

The walk itself is `labkit.netboot.boot_client`, in a process of its own. `namespaces` makes the network namespace that
it runs in, on the supervisor's side; `temporary_server` answers it in a real lab; `outcome` asks for a rehearsal and
tells what came of it.
"""
