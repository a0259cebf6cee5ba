"""Has glibc give back to the system the memory that is not used any more; another C library is left as it is.

Left alone, glibc learns from the first large block that is freed to take such blocks from its heap (the threshold from
which each gets pages of its own moves up to 32 MiB), one heap for each thread; and what lives longer pins them down.
"""

import ctypes

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_c = ctypes.CDLL(None)


def give_back_from(octets: int) -> None:
    """From now on, what is as large or larger at once, from one heap. To be called before there are threads."""
    if hasattr(_c, "mallopt"):
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, octets), (_M_TRIM_THRESHOLD, octets)):
            _c.mallopt(option, value)


def give_back() -> None:
    """Once: all that is free in whole pages. It takes milliseconds."""
    if hasattr(_c, "malloc_trim"):
        _c.malloc_trim(0)
