"""The command line: options in, calls of the library, tables out. One file per command."""

from calibrant.cli.main import amct_tensorflow, main

__all__ = ["amct_tensorflow", "main"]
