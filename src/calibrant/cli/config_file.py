"""The type of a configuration file on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.errors import ConfigError, Problem


class ConfigFile(click.ParamType):
    """A ``Path``, as a text could be the configuration itself; an empty one would be the working directory."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path.

        Raises
        ------
        ConfigError
            It is empty.
        """
        if not value:
            hint = "is a variable of the shell not set?"
            raise ConfigError(Problem("the name of the configuration file is empty", hint=hint))
        return Path(value)
