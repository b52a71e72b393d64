"""Channels of activations and weights are equalized or balanced, before anything else is observed."""
