"""Log lines on the terminal and in ``amct_log/amct_tensorflow.log``, each with a level of its own."""

from __future__ import annotations

import logging
from pathlib import Path

from calibrant.errors import ConfigError, Problem, did_you_mean

FOLDER = "amct_log"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FORMAT = "%(asctime)s - %(levelname)s - [AMCT]:[%(module_name)s]: %(message)s"


class _File(logging.Handler):
    """Appends to the file in the working directory of the moment; there is no file before there is a line."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            folder = Path(FOLDER)
            folder.mkdir(exist_ok=True)
            with (folder / "amct_tensorflow.log").open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)


class Logger:
    """What scripts know as LOGGER; every line names a part of the program, ``module_name``."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("calibrant.amct")
        self._logger.propagate = False
        self._logger.setLevel(logging.DEBUG)
        self._terminal, self._file = logging.StreamHandler(), _File()
        self._logger.handlers = [self._terminal, self._file]
        for handler in self._logger.handlers:
            handler.setFormatter(logging.Formatter(_FORMAT))
            handler.setLevel(logging.INFO)

    def set_levels(self, print_level: int, save_level: int) -> None:
        """Lowest level that is printed, and lowest that goes to the file."""
        self._terminal.setLevel(print_level)
        self._file.setLevel(save_level)

    def _line(self, level: int, message: object, module_name: str) -> None:
        self._logger.log(level, "%s", message, extra={"module_name": module_name})

    def logd(self, message: object, module_name: str = "AMCT") -> None:
        """A line of the level debug."""
        self._line(logging.DEBUG, message, module_name)

    def logi(self, message: object, module_name: str = "AMCT") -> None:
        """A line of the level info."""
        self._line(logging.INFO, message, module_name)

    def logw(self, message: object, module_name: str = "AMCT") -> None:
        """A line of the level warning."""
        self._line(logging.WARNING, message, module_name)

    def loge(self, message: object, module_name: str = "AMCT") -> None:
        """A line of the level error."""
        self._line(logging.ERROR, message, module_name)

    push_debug_message = logd
    push_info_message = logi
    push_warning_message = logw
    push_error_message = loge


LOGGER = Logger()


def set_logging_level(print_level: str = "info", save_level: str = "info") -> None:
    """Say which lines are printed, and which are kept in ``amct_log/amct_tensorflow.log``.

    Parameters
    ----------
    print_level, save_level : str
        ``'debug'``, ``'info'``, ``'warning'`` or ``'error'``, in any case.

    Raises
    ------
    ConfigError
        Another word.
    """
    LOGGER.set_levels(_level("print_level", print_level), _level("save_level", save_level))


def _level(name: str, value: str) -> int:
    level = LEVELS.get(value.lower()) if isinstance(value, str) else None
    if level is None:
        hint = did_you_mean(value, LEVELS) if isinstance(value, str) else None
        raise ConfigError(Problem(f"{name} is {value!r}", allowed=", ".join(LEVELS), hint=hint))
    return level
