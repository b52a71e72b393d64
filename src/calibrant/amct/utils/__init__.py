"""The place where scripts look for the logger."""
