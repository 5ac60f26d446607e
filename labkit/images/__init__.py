"""The images a lab boots and runs: the blade OS, nginx and an NFS server, built from Debian packages and
cached, and the boot loaders.

`ensure_images` builds what is missing; `catalogue` says which file lies behind each name the boot server serves.
"""

from __future__ import annotations

from labkit.images.ensure import builders, ensure_images, prune_images, verify_images
from labkit.images.nginx import CHANGES as NGINX_CHANGES
from labkit.images.served import catalogue, container_linux_folder, ganesha_tree, image_digests, nginx_rootfs, tree
from labkit.images.store import cache_folder

__all__ = [
    "NGINX_CHANGES",
    "builders",
    "cache_folder",
    "catalogue",
    "container_linux_folder",
    "ensure_images",
    "ganesha_tree",
    "image_digests",
    "nginx_rootfs",
    "prune_images",
    "tree",
    "verify_images",
]
