"""What the C library does with memory that is freed: keep it, or give it back.

Nothing happens with a C library other than glibc. The settings are made here, not by
variables of the images, so that a process outside of them has them as well: glibc reads
its variables before Python runs.
"""

import ctypes
import os
from pathlib import Path

from sagemaker_container.variables import text

KEPT_BYTES = 2**30
"""How much memory training keeps when it is freed, and how large a piece may be."""

REQUEST_PIECE_BYTES = 8 * 2**20
"""How large a piece of memory may be that a server keeps for the next request."""

REQUEST_BYTES = 64 * 2**20
"""How much freed memory a server keeps, until it is given back."""

POOLS = 2
"""How many pools of memory the threads of a server share."""

_TRIM_THRESHOLD = (-1, "MALLOC_TRIM_THRESHOLD_")
_MMAP_THRESHOLD = (-3, "MALLOC_MMAP_THRESHOLD_")
_ARENA_MAX = (-8, "MALLOC_ARENA_MAX")
"""The numbers of the settings in malloc.h, and the variables that set them as well."""

_LIBRARY = ctypes.CDLL(None)


def keep_freed_memory() -> None:
    """Keep what is freed for what is asked for next.

    By default glibc gives large pieces back to the kernel, which has to clear them when
    the next step of the training asks for as much again: sequences that overlap then
    train 1.6 times slower.
    """
    for setting in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        _set(setting, KEPT_BYTES)


def share_freed_memory() -> None:
    """Let threads have what other threads have freed; call it before they start.

    By default glibc gives each thread a pool of its own, up to eight for each core, and
    in each stays what the largest request once took. Python's threads seldom ask for
    memory at the same time.
    """
    _set(_ARENA_MAX, POOLS)


def keep_memory_of_requests() -> None:
    """Keep what a block of a request freed for the next one, and the next request.

    glibc's own limits follow what is freed. Most often they stay so low that the kernel
    clears the memory of each block again: 10 ms of 330 for 100 000 x 8 rows.
    """
    _set(_MMAP_THRESHOLD, REQUEST_PIECE_BYTES)
    _set(_TRIM_THRESHOLD, REQUEST_BYTES)


def give_back_freed_memory() -> None:
    """Give what has been freed back to the kernel.

    By default glibc keeps what lies below something that is still in use.
    """
    if hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)


def resident_bytes() -> int:
    """Return the memory of this process and of its parent.

    What the two share counts twice.
    """
    return sum(_resident_bytes(process) for process in (os.getpid(), os.getppid()))


def _resident_bytes(process: int) -> int:
    """Return the memory of a process; 0 if it is another user's."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _set(setting: tuple[int, str], value: int) -> None:
    """Set one of the C library's settings, unless the user has."""
    number, variable = setting
    if hasattr(_LIBRARY, "mallopt") and not text(variable):
        _LIBRARY.mallopt(number, value)
