"""What becomes of memory that is freed: it is kept for the next step instead of being given back.

Every pass frees what it allocated. By default the C library hands large blocks back to the system
and asks for them again in the next pass, and the system clears every page of them each time, which
takes longer than many of the kernels that then write there.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The options of glibc's ``mallopt``: at most so much is kept free at the end of the heap; blocks
of more than so much are not of the heap at all. In bytes."""
DEFAULT = 128 << 10
"""Both to begin with; unless set, glibc raises them with the blocks that are freed, to 32 MiB."""
LARGE = 1 << 30


def keep_freed_memory(threshold: int = LARGE) -> bool:
    """Let this process keep up to ``threshold`` bytes that it freed, and blocks of up to as many.

    Returns whether the C library can be told (glibc); elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, threshold) == 1 for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
