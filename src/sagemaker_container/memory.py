"""What the C library does with memory that is freed: keep it, or give it back.

Nothing happens with a C library other than glibc.
"""

import ctypes

KEPT_BYTES = 2**30
"""How much memory training keeps when it is freed, and how large a piece may be."""

POOLS = 2
"""How many pools of memory the threads of a server share."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h

_LIBRARY = ctypes.CDLL(None)


def keep_freed_memory() -> None:
    """Keep what is freed for what is asked for next.

    By default glibc gives large pieces back to the kernel, which has to clear them when
    the next step of the training asks for as much again: sequences that overlap then
    train 1.6 times slower.
    """
    for setting in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        _set(setting, KEPT_BYTES)


def share_freed_memory() -> None:
    """Let threads have what other threads have freed; call it before they start.

    By default glibc gives each thread a pool of its own, up to eight for each core, and
    in each stays what the largest request once took. Python's threads seldom ask for
    memory at the same time.
    """
    _set(_M_ARENA_MAX, POOLS)


def give_back_freed_memory() -> None:
    """Give what has been freed back to the kernel.

    By default glibc keeps what lies below something that is still in use.
    """
    if hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)


def _set(setting: int, value: int) -> None:
    """Set one of the C library's settings."""
    if hasattr(_LIBRARY, "mallopt"):
        _LIBRARY.mallopt(setting, value)
