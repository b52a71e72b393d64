"""Submodules that scripts import from."""
