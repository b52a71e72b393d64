"""The command does its work in a child process, so that a sudden end of it becomes one clear error.

TensorFlow ends the process on some graphs, by a failed check or a bad memory access, and not all of these can be
foreseen. The fork comes before anything large is imported, so it costs a millisecond. What TensorFlow's libraries
write to file descriptor 2 passes through the parent, which keeps their last words for the error.
"""

from __future__ import annotations

import io
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from calibrant.child_process import end_with_parent

_DEATHS = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSYS", "SIGTRAP"})
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_LAST_WORDS = re.compile(
    rb"F\d{4} [^\]]*\] *(?P<new>.*)|[-\d]+ [:.\d]+: F [^\]]*\] *(?P<old>.*)|terminate called (?P<thrown>.*)"
    rb"|(?P<python>Fatal Python error: .*)"
)
_CHATTER = re.compile(
    rb"INFO: Created TensorFlow Lite |loc\(|error: |note: |<unknown>:|\S+\.py:\d+:\d+: (error|note): "
)
"""What LiteRT and MLIR tell whoever runs them; the command says what of it concerns the model."""
INTERRUPTED = "interrupted; the output folder holds one whole result or none"
PATIENCE = 1.5  # seconds after an interrupt in which the work may end by itself
_SAME = 0.5  # seconds within which two interrupts are one that came twice, to the process and to its group
_SOON = 0.01  # seconds after which what took an interrupt should have ended
_SHOWN = 400
_is_child = False
_interrupts: _Interrupts | None = None


def possible() -> bool:
    """Whether this process can be forked safely, and its child be watched."""
    return sys.platform == "linux" and "tensorflow" not in sys.modules and threading.active_count() == 1


def fork(died: Callable[[str, str], NoReturn], saves: bool = False) -> None:
    """Return in a child process; the parent passes signals on to it and exits as it does.

    Parameters
    ----------
    died : Callable[[str, str], NoReturn]
        Called in the parent with the signal that ended the child, and the last words of a library, or nothing.
    saves : bool
        Whether the child saves something when it is interrupted; else it is killed where TensorFlow does not let it
        end in time.
    """
    signals = (getattr(signal, name) for name in _PASSED_ON)
    passed_on = {each for each in signals if signal.getsignal(each) is not signal.SIG_IGN}  # as of jobs with &
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    parent, (reading, writing) = os.getpid(), os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed_on, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        global _is_child, _interrupts
        _is_child = True
        end_with_parent(parent)
        os.close(reading)
        _keep_messages_direct(writing)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            _interrupts = _Interrupts()
            _interrupts.install()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os.close(writing)
    words = _LastWords(reading)
    status = _status_of(child, passed_on, None if saves else PATIENCE)
    said = words.end(shown=status is None or os.waitstatus_to_exitcode(status) >= 0)
    if status is None:
        _show(f"\n{INTERRUPTED}\n".encode())
        sys.exit(130)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    ended = signal.Signals(-code)
    if ended.name in _DEATHS:
        died(ended.name, said)
    signal.signal(ended, signal.SIG_DFL)
    os.kill(parent, ended)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sys.exit(128 + ended)


def settle_interrupts() -> None:
    """At the end of the work: raise KeyboardInterrupt if there was an interrupt, and ignore those that come later.

    TensorFlow turns some into exceptions of other types, or into nothing.
    """
    if _interrupts is not None:
        _interrupts.settle()


def leave(code: int) -> NoReturn:
    """Exit; in the child process without the seconds that TensorFlow takes to let everything go."""
    if not _is_child:
        sys.exit(code)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


def file_among(arguments: Sequence[str]) -> str | None:
    """The model that a command line names: what follows ``--model``, or else the first that exists."""
    after = [word for option, word in zip(arguments, arguments[1:], strict=False) if option == "--model"]
    words = [word.removeprefix("--model=") for word in arguments if not word.startswith("-") or "--model=" in word]
    for word in (*after, *words):
        with suppress(OSError, ValueError):
            if Path(word).exists():
                return word
    return None


def _keep_messages_direct(writing: int) -> None:
    """Python's messages go where they went, unbuffered; file descriptor 2 leads to the parent.

    What a buffer could not write would be tried again at the end, and change the exit code.
    """
    previous: Any = sys.stderr
    direct: Any = os.fdopen(os.dup(2), "wb", buffering=0)
    sys.stderr = io.TextIOWrapper(direct, encoding=previous.encoding, errors=previous.errors, write_through=True)
    os.dup2(writing, 2)
    os.close(writing)


class _KeyboardInterrupt(KeyboardInterrupt):
    """Calls a function when it is gone."""

    def __init__(self, gone: Callable[[], None]) -> None:
        super().__init__()
        self._gone = gone

    def __del__(self) -> None:
        self._gone()


class _Interrupts:
    """One KeyboardInterrupt for each interrupt, and another one for each that is gone before the command has ended.

    What is raised in the callback of a weak reference (the locks of the import system have some), or while an object
    is deleted, ends nothing. What is raised where C++ calls Python may become another exception, or none.
    """

    def __init__(self) -> None:
        self._last = -_SAME
        self._shown = sys.unraisablehook
        self._thread = threading.get_ident()
        self._came = False

    def install(self) -> None:
        """Take the place of Python's handler, and of what shows exceptions that end nothing."""
        signal.signal(signal.SIGINT, self._interrupt)
        sys.unraisablehook = self._lost

    def settle(self) -> None:
        """Raise KeyboardInterrupt if there was an interrupt, whatever became of it; later ones are ignored."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._came:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: Any) -> None:
        again, self._last = time.monotonic() - self._last < _SAME, time.monotonic()
        if not again:
            self._came = True
            raise _KeyboardInterrupt(self._gone)

    def _lost(self, exception: sys.UnraisableHookArgs) -> None:
        if not issubclass(exception.exc_type, KeyboardInterrupt):
            self._shown(exception)
        elif exception.exc_type is not _KeyboardInterrupt:  # of another signal that ends the command
            self._gone()

    def _gone(self) -> None:
        again = threading.Timer(_SOON, self._raise_again)
        again.daemon = True
        again.start()

    def _raise_again(self) -> None:
        self._last = -_SAME
        signal.pthread_kill(self._thread, signal.SIGINT)


def _status_of(child: int, passed_on: set[signal.Signals], patience: float | None) -> int | None:
    """How the child ended; None if it was killed because it had not ended so many seconds after an interrupt."""
    awaited, deadline, killed = {*passed_on, signal.SIGCHLD}, None, False
    while True:
        received: signal.struct_siginfo | None
        if deadline is None:
            received = signal.sigwaitinfo(awaited)
        else:
            received = signal.sigtimedwait(awaited, max(deadline - time.monotonic(), 0))
        if received is None:
            os.kill(child, signal.SIGKILL)
            deadline, killed = None, True
        elif received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return None if killed else status
        else:
            if received.si_code <= 0:  # from a process; what the terminal sends, the child gets as well
                os.kill(child, received.si_signo)
            if received.si_signo == signal.SIGINT and patience is not None and deadline is None and not killed:
                deadline = time.monotonic() + patience


class _LastWords:
    """What comes through a pipe is shown, but for chatter and the message with which a library ends the process."""

    def __init__(self, reading: int):
        self._reading = reading
        self._ending, self._end = os.pipe()
        self._held: list[bytes] = []
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def end(self, shown: bool) -> str:
        """Stop; the first line that was held back. All of them are shown if they were not the last."""
        os.write(self._end, b".")
        self._thread.join()
        if shown:
            _show(b"".join(self._held))
        match = _LAST_WORDS.match(self._held[0]) if self._held else None
        found = next((group for group in match.groups() if group), b"") if match else b""
        return found.decode(errors="replace").strip()[:_SHOWN]

    def _pass_on(self) -> None:
        rest = b""
        while True:
            ready, _, _ = select.select([self._reading, self._ending], [], [])
            data = os.read(self._reading, 1 << 16) if self._reading in ready else b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line + b"\n")
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        if self._held or _LAST_WORDS.match(line):
            self._held.append(line)
        elif not _CHATTER.match(line):
            _show(line)


def _show(text: bytes) -> None:
    with suppress(OSError):
        while text:
            text = text[os.write(2, text) :]
