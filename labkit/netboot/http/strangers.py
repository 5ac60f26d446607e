"""What a machine may say that is not in the lab and was booted to be looked at (``discover: true``): what it is made
of, once, and the question whether it was taken in.

It has no ticket, and nothing that it says is believed but as a machine's own word. It counts from an address that a
card has now which is no blade's; anybody else gets 403.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from labkit.events.kept_inventories import name_of
from labkit.netboot.clients import ClientBook
from labkit.netboot.http.inventories import Inventories
from labkit.netboot.http.phone_home import Handler, answered, said

ADOPTED, WAIT = "adopted", "wait"


class Strangers:
    """The POST handlers for machines that are not in the lab."""

    def __init__(self, clients: ClientBook, inventories: Inventories) -> None:
        self._clients, self._inventories = clients, inventories

    def handlers(self) -> dict[str, Handler]:
        """The handlers by path; none where the lab does not discover."""
        if not self._clients.lab.network.discover:
            return {}
        return {"/v1/machine": self.machine, "/v1/waiting": self.waiting}

    async def machine(self, request: web.Request) -> web.Response:
        """What it is made of. The answer is for its console: that in words, and what somebody can do about it."""
        mac = self._clients.mac_at(request.remote or "")
        if not mac or self._clients.lab.blade_with_mac(mac) is not None:
            raise web.HTTPForbidden(text="no machine that is waiting has this address\n")
        why = await asyncio.to_thread(self._inventories.take_stranger, mac, await said(request))
        if why:
            return answered(why)
        kept = self._inventories.of(name_of(mac))
        words = kept.inventory.brief if kept is not None else "noted"
        return web.Response(text=f"found: {words}\nit waits to be taken in: ./lab adopt {mac}, where labkit runs\n")

    async def waiting(self, request: web.Request) -> web.Response:
        """Whether it is a blade by now."""
        mac = self._clients.mac_at(request.remote or "")
        is_blade = bool(mac) and self._clients.lab.blade_with_mac(mac) is not None
        return web.Response(text=f"{ADOPTED if is_blade else WAIT}\n")
