"""The size of a file that can be read to its end."""

import errno
import stat
from pathlib import Path


def file_size(path: Path) -> int:
    """The size of a file that can be read to its end.

    Returns: Bytes.
    Raises OSError: if it is not there, can't be looked at, or is a folder, pipe or
        device: reading these might never end.

    >>> file_size(Path("/dev/zero"))
    Traceback (most recent call last):
    OSError: [Errno 22] it is a device, not a file
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    return status.st_size
