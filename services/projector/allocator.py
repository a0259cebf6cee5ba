"""Lets the system have back the memory that is not used any more, where the C library is glibc.

Columns of megabytes come and go. As it is, glibc takes room for them from its heap once a few have been freed (the
threshold from which each gets pages of its own moves up to 32 MiB), and what was freed in the middle of a heap stays.
"""

import ctypes

PAGES_OF_ITS_OWN_OCTETS = 256 * 1024
"""What is larger is given back as soon as it is freed; what is computed in blocks is smaller, and is used again."""

_M_MMAP_THRESHOLD = -3

_c = ctypes.CDLL(None)


def give_back_what_is_large() -> None:
    """From now on. To be called before there are threads."""
    if hasattr(_c, "mallopt"):
        _c.mallopt(_M_MMAP_THRESHOLD, PAGES_OF_ITS_OWN_OCTETS)


def give_back() -> None:
    """Once: all that is free in whole pages. It takes milliseconds."""
    if hasattr(_c, "malloc_trim"):
        _c.malloc_trim(0)
