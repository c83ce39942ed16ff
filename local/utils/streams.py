"""Standard output and error that end no run: whatever they lead to, and take."""

import contextlib
import errno
import io
import logging
import os
import sys

#: What a write says where nobody reads any more: a pipe, a socket, a terminal.
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)

#: What SpeechBrain warns of, and nobody here needs to know.
OF_NO_CONCERN = (
    "torchvision is not available - cannot save figures",
    "The model has no parameters!",  # heads that are fitted in one go
)


class _Output(io.FileIO):
    """A descriptor that leads to nothing from when its reader has gone."""

    def write(self, data):
        """Write bytes; tell how many."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            lead_nowhere(self.fileno())
            return len(data)


def lead_nowhere(descriptor: int):
    """Let a descriptor of this process, open or not, take anything and keep nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def secure():
    """Have standard output and error take any text, and go on when nobody reads them.

    A run whose output goes to `head`, or to a terminal that is closed, is worth what it
    writes into its files. What an encoding has no letters for is written as in Python's
    source code. Messages that can't be written at all are not told of in tracebacks.
    """
    logging.raiseExceptions = False
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # it was closed, and the next file would be opened there
            lead_nowhere(descriptor)
            stream = io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False))
            setattr(sys, name, stream)
        elif stream is getattr(sys, f"__{name}__"):  # and not a notebook's, or a test's
            stream.flush()
            raw = _Output(stream.fileno(), "w", closefd=False)
            replaced = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, replaced)


def flush():
    """Write what standard output has still to write.

    Returns OSError or None: Why it can't be written; nothing is tried again then.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            lead_nowhere(sys.stdout.fileno())
        return error
    return None


def leave_out_of_no_concern():
    """Hide messages that are nobody's concern; before SpeechBrain is loaded."""
    for name in ("speechbrain.core", "speechbrain.utils.train_logger"):
        logger = logging.getLogger(name)
        logger.addFilter(lambda record: record.getMessage() not in OF_NO_CONCERN)


@contextlib.contextmanager
def quiet():
    """Let only warnings be logged, in a block or a function."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
