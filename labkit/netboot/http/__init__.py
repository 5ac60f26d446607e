"""HTTP and HTTPS: the files of a boot, and the way home for blades that have booted."""
