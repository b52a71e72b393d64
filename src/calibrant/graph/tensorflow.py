"""The one place that imports TensorFlow itself, and says what to install where there is none."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import IO

from calibrant.collector import never_collected
from calibrant.errors import DependencyError, ModelError, Problem, shortened
from calibrant.process_wide import alone

MINIMUM = (2, 16)
ADDRESS_SPACE = 1.9  # GiB that TensorFlow and its threads take before a model is read; with less the C library aborts


class _PoolsBySession:
    """TensorFlow is asked for threads by session, or the first one decides for all; it reads that with the first."""

    NAME = "TF_OVERRIDE_GLOBAL_THREADPOOL"

    def __init__(self) -> None:
        self._is_ours = self._was_read = False

    def ask(self) -> None:
        if not self._was_read and self.NAME not in os.environ:
            os.environ[self.NAME] = "1"
            self._is_ours = True

    def note_read(self) -> None:
        self._was_read = True
        if self._is_ours:
            self._is_ours = False
            os.environ.pop(self.NAME, None)


_pools = _PoolsBySession()


def note_open_session() -> None:
    """A session is open: what asks TensorFlow for threads by session has been read, and leaves the environment."""
    _pools.note_read()


def tensorflow() -> ModuleType:
    """The TensorFlow module.

    Raises
    ------
    DependencyError
        Neither ``tensorflow`` nor ``tensorflow-cpu`` is installed, or it is older than 2.16, or cannot be loaded.
    """
    _check_address_space()
    _pools.ask()
    try:
        if "tensorflow" in sys.modules:
            import tensorflow as tf
        else:
            shown = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1")
            with nullcontext() if shown else _without_start_up_messages(), never_collected():
                import tensorflow as tf
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise DependencyError(
            Problem(
                "TensorFlow is not installed",
                allowed="tensorflow or tensorflow-cpu, 2.16 or newer",
                hint="pip install 'calibrant[tensorflow-cpu]', or 'calibrant[tensorflow]' for the GPU build",
            )
        ) from None
    except (ImportError, OSError) as error:  # it needs a folder for temporary files too
        raise DependencyError(
            Problem(f"TensorFlow cannot be loaded: {error}", hint="python -c 'import tensorflow' says more")
        ) from None
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version < MINIMUM:
        raise DependencyError(
            Problem(
                f"TensorFlow {tf.__version__} is too old",
                allowed="2.16 or newer",
                hint="pip install -U tensorflow, or tensorflow-cpu, whichever is in use",
            )
        )
    return tf


def _check_address_space() -> None:
    if "tensorflow" in sys.modules or sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE * 2**30:
        raise DependencyError(
            Problem(
                f"this process may address {limit / 2**30:.2g} GiB, with which TensorFlow cannot start",
                allowed=f"{ADDRESS_SPACE} GiB or more",
                hint="ulimit -v unlimited",
            )
        )


@contextmanager
def _without_start_up_messages() -> Iterator[None]:
    """Keep what TensorFlow's libraries write to file descriptor 2 while they load; shown after all if loading fails."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        standard_error = os.dup(2)
    except OSError:  # closed, as for some services
        standard_error = None
    if standard_error is None:
        yield
        return
    with _nameless_file() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(standard_error, kept.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _nameless_file() -> IO[bytes]:
    """A file that is gone when it is closed; in memory where there is no folder for it."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        return os.fdopen(os.memfd_create("calibrant"), "w+b")


def eagerly() -> AbstractContextManager[None]:
    """Run operations at once, also where the caller has turned that off or builds a graph."""
    tensorflow()
    from tensorflow.python.eager import context

    entered: AbstractContextManager[None] = context.eager_mode()
    return entered


@contextmanager
def without_callbacks() -> Iterator[None]:
    """Keep nodes out of graphs that a program has asked for, with ``tf.debugging.enable_check_numerics`` for example.

    TensorFlow calls no callback for operations that a callback makes; so this thread seems to be in one meanwhile.
    """
    if "tensorflow" not in sys.modules:
        yield
        return
    from tensorflow.python.eager.context import context

    state = context()
    before = state.invoking_op_callbacks
    state.invoking_op_callbacks = True
    try:
        yield
    finally:
        state.invoking_op_callbacks = before


def refuse_in_function() -> None:
    """Refuse to work while a ``tf.function`` is traced: whatever runs there would become part of it.

    Raises
    ------
    ModelError
        One is being traced.
    """
    if tensorflow().compat.v1.get_default_graph().building_function:
        hint = "call it outside of @tf.function and of functions for Dataset.map"
        raise ModelError(Problem("calibrant is called while TensorFlow traces a function", hint=hint))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep TensorFlow's deprecation notices about its own functions away from the user."""
    logger = tensorflow().get_logger()
    with alone():
        level = logger.level
        logger.setLevel("ERROR")
        try:
            yield
        finally:
            logger.setLevel(level)


def cause_of(error: BaseException) -> str:
    """What an error of TensorFlow or Keras says, in one line: the lines that carry the cause, without the framing."""
    text = _ESCAPES.sub("", str(error))
    lines = [line.strip().removeprefix("Exception encountered: ") for line in text.splitlines()]
    said = [line for line in lines if line and not _FRAMING.match(line)]
    return shortened(" ".join(said[:3]), 600) or type(error).__name__


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_FRAMING = re.compile(
    r"Exception encountered when calling .*|in user code:|Arguments received by .*|Graph execution error:"
    r"|Error when deserializing class .*"
    r"|Detected at node .*|Node: .*|File \".*|Original stack trace .*|• .*|Traceback .*|[-=~^]+$|<stack traces .*"
)
