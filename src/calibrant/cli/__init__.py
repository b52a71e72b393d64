"""The command line: options in, calls of the library, tables out. One file per command."""

try:
    from calibrant.cli.main import amct_tensorflow, main
except KeyboardInterrupt:  # nothing has begun yet
    raise SystemExit(130) from None

__all__ = ["amct_tensorflow", "main"]
