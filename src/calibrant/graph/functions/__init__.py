"""Loops, branches and functions: what is in them, and what is known of it from outside."""
