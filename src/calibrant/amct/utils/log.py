"""The logger, where scripts import it from."""

from calibrant.amct.log import LOGGER

__all__ = ["LOGGER"]
