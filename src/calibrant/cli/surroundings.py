"""What surrounds the command: standard streams that are closed or full, and a system that is short of something."""

from __future__ import annotations

import os
import re
import sys

from calibrant.errors import Problem

_EXHAUSTED = re.compile(
    r"pthread_create|std::system_error|Resource temporarily unavailable|can't start new thread"
    r"|annot allocate memory|ut of memory|ailed to allocate"
)
"""What libraries say, of which some end the process then and others raise a RuntimeError."""


def open_standard_streams() -> None:
    """Give a closed stream's number to nothing, or the next file that is opened gets it, and messages go there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            if opened != number:
                os.dup2(opened, number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def abandon_output() -> None:
    """Let what is still to be printed go nowhere, after standard output has failed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def is_output_broken() -> bool:
    """Whether what was printed does not arrive."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def shortage(error: OSError | MemoryError) -> str:
    """What the system refused, in one line."""
    if isinstance(error, MemoryError):
        return "memory does not suffice; smaller batches, fewer --workers or a higher limit (ulimit -v) may help"
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"something cannot be read or written, perhaps standard output: {reason}"
    return f"{os.fsdecode(error.filename)}: {reason}"


def exhausted(said: str) -> Problem | None:
    """The error where a library has said that it got no more memory or threads; None where it says something else."""
    if not _EXHAUSTED.search(said):
        return None
    return Problem(
        f"the system gave no more memory or threads: {said}",
        hint="smaller batches, fewer --workers or --threads; or higher limits, of memory (ulimit -v), of threads "
        "(ulimit -u) or of the container",
    )
