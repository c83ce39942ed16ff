"""How memory is asked for."""

import ctypes

#: Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the process keep memory that it frees, for its next tensors.

    The C library gives every large tensor fresh pages and hands them back when it is
    freed, and the system fills fresh pages with zeros. Activations of ECAPA-TDNN are
    large, and thousands are made and freed in a training step: without this a step
    takes about a sixth longer on a CPU. No number changes.

    Returns: Whether it could be set: by glibc only, thus on most Linux systems.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # all from the heap, which grows by 256 MiB and never shrinks
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 1 << 28}
    return all([mallopt(key, value) == 1 for key, value in settings.items()])
