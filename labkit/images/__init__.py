"""The images a lab boots and runs: the blade OS, nginx, an NFS server and signed loaders, from Debian packages and
cached, releases of other systems, and the boot loaders.

`ensure_images` builds what is missing; `catalogue` says which file lies behind each name the boot server serves.
"""

from __future__ import annotations

from labkit.images.ensure import builders, ensure_images, old_images, prune_images, verify_images
from labkit.images.nginx import CHANGES as NGINX_CHANGES
from labkit.images.served import (
    catalogue,
    container_linux_folder,
    ganesha_tree,
    identities,
    image_digests,
    kernel,
    nginx_rootfs,
    shown_to_servers,
    tree,
)
from labkit.images.store import cache_folder

__all__ = [
    "NGINX_CHANGES",
    "builders",
    "cache_folder",
    "catalogue",
    "container_linux_folder",
    "ensure_images",
    "ganesha_tree",
    "identities",
    "image_digests",
    "kernel",
    "nginx_rootfs",
    "old_images",
    "prune_images",
    "shown_to_servers",
    "tree",
    "verify_images",
]
