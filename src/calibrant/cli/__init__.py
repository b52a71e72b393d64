"""The command line: options in, calls of the library, tables out. One file per command."""

from calibrant.cli.main import main

__all__ = ["main"]
