"""Tells a file mode that was meant in octal but written in decimal. Source: base/util/file.go of Butane."""

from __future__ import annotations


def looks_decimal(mode: int, *, directory: bool) -> bool:
    """Whether a mode makes no sense as it is, but would if its decimal digits were octal (644 for 0644)."""
    digits = str(mode)
    if not 0 <= mode <= 7777 or "8" in digits or "9" in digits:
        return False
    return not _is_typical(mode, directory) and _is_typical(int(digits, 8), directory)


def _is_typical(mode: int, directory: bool) -> bool:
    if mode == 0:
        return True  # root does not care
    had = 0
    for shift in (0, 3, 6):  # others, group, owner
        bits = mode >> shift & 7
        if had & ~bits:
            return False  # an owner has at least what others have
        if bits & 1 and had & 4 and not had & 1:
            return False  # who may run it may run what others may read
        if bits & 3 and not bits & 4:
            return False
        had |= bits
    if not had & 4:
        return False
    if directory:
        return bool(had & 1) and not mode & 0o4000 and not (mode & 0o3000 and not had & 2)
    return not mode & 0o1000 and not (mode & 0o6000 and (not had & 1 or mode & 2))
