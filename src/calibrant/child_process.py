"""A process that answers requests. It never outlives the one that started it, and imports what that one would import.

It is started as a plain command, neither forked nor by importing the caller's main module, because forks do not work
with TensorFlow's threads, nor imports with scripts that lack ``if __name__ == "__main__"``. Messages are pickles on its
standard input and output; nothing else may write to its standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, BinaryIO, cast

from calibrant import collector
from calibrant.errors import CalibrantError, DependencyError, Problem

PR_SET_PDEATHSIG = 1
WATCH_EVERY = 0.5  # seconds
CUT_OFF = ("Ran out of input", "pickle data was truncated")
"""What is said of a stream that has ended."""
_BEGIN = f"import sys; sys.path[:] = sys.argv[2:]; from {__name__} import main; main()"
"""Nothing is imported before the path is the caller's: Python puts the working directory first, also with ``-m``."""
_is_child = False


class ChildProcess:
    """The caller's side.

    Parameters
    ----------
    serving : Callable[..., AbstractContextManager[Callable[[Any], Any]]]
        A function of a module, called in the process: a context in which requests are answered by what it gives.
    *arguments : Any
        Its arguments, copied into the process.

    Raises
    ------
    CalibrantError
        The arguments cannot be copied, or this is such a process itself.
    """

    def __init__(self, serving: Callable[..., AbstractContextManager[Callable[[Any], Any]]], *arguments: Any):
        if _is_child:
            hint = "start the script's work below if __name__ == '__main__':, or take one worker"
            raise DependencyError(Problem("a worker process would start workers of its own", hint=hint))
        paths = [path for path in sys.path if isinstance(path, str)]  # Python passes over others
        switches = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
        with _without_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, *switches, "-c", _BEGIN, str(os.getpid()), *paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        # With PIPE, both streams exist.
        self._requests, self._answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._begun = False
        try:
            self._send(_main_module())
            self._send((serving, arguments))
        except BaseException:
            self.kill()
            raise

    @property
    def process_id(self) -> int:
        """The process number that the system gave it."""
        return self._process.pid

    def ask(self, request: Any) -> Any:
        """The answer to a request; raises the CalibrantError that it ended in, or DependencyError if it is gone."""
        self._send(request)
        if not self._begun:
            self._begun = True
            self._receive()
        return self._receive()

    def close(self) -> None:
        """Let the process end; it is killed if it takes long."""
        self._close_streams()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._close_streams()

    def _close_streams(self) -> None:
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # unwritten data for a process that has ended
                stream.close()

    def _send(self, message: Any) -> None:
        try:
            content = pickle.dumps(message, protocol=5)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            hint = "give files, arrays or functions of a module, or take one worker"
            raise DependencyError(Problem(f"cannot be sent to a worker process: {error}", hint=hint)) from None
        try:
            self._requests.write(content)
            self._requests.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _receive(self) -> Any:
        try:
            answer = pickle.load(self._answers)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            raise self._gone() from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _gone(self) -> CalibrantError:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        return DependencyError(
            Problem(
                f"a worker process has ended before its time (exit code {code})",
                hint="memory may have run out: take fewer workers or smaller batches",
            )
        )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started here gets no interrupt before it says that it ignores them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """End this process when the one that started it ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    elif sys.platform != "win32":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if sys.platform != "win32" and os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY)
    os._exit(1)


def _main_module() -> tuple[str, str]:
    """How the caller's main module is found: its name, or else its file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return getattr(spec, "name", ""), getattr(main, "__file__", None) or ""


class _Unpickler(pickle.Unpickler):
    """Imports the caller's main module, under another name, when something of it is sent."""

    def __init__(self, stream: BinaryIO, main: tuple[str, str]):
        super().__init__(stream)
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function."""
        if module == "__main__" and any(self._main):
            _import_main(*self._main)
            module = "__mp_main__"
        return super().find_class(module, name)


def _import_main(name: str, file: str) -> None:
    if "__mp_main__" not in sys.modules:
        module = sys.modules["__mp_main__"] = ModuleType("__mp_main__")
        found = runpy.run_module(name, run_name="__mp_main__") if name else runpy.run_path(file, run_name="__mp_main__")
        module.__dict__.update(found)


class _CallerGoneError(Exception):
    """The stream of requests ended, which it may do within one."""


def _read(unpickler: pickle.Unpickler) -> Any:
    try:
        return unpickler.load()
    except (EOFError, pickle.UnpicklingError) as error:
        if str(error) in CUT_OFF:  # others are those of what is imported
            raise _CallerGoneError from None
        raise


def _until_the_end(requests: BinaryIO, main_module: tuple[str, str]) -> Iterator[Any]:
    with contextlib.suppress(_CallerGoneError):
        while True:
            yield _read(_Unpickler(requests, main_module))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the caller closes the stream, wherever in it an interrupt finds the caller."""

    def answer(message: Any) -> None:
        pickle.dump(message, answers, protocol=5)
        answers.flush()

    with contextlib.suppress(_CallerGoneError):
        main_module = _read(pickle.Unpickler(requests))
        try:
            serving, arguments = _read(_Unpickler(requests, main_module))
            with serving(*arguments) as handler:
                answer(None)
                for request in _until_the_end(requests, main_module):
                    try:
                        found = handler(request)
                    except CalibrantError as error:
                        found = error
                    answer(found)
        except CalibrantError as error:  # of the beginning
            answer(error)


def main() -> None:
    """Reserve standard output for answers; what TensorFlow or a user's code prints goes to standard error."""
    global _is_child
    _is_child = collector.HAS_OWN_PROCESS = True
    end_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides what an interrupt ends
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)
