"""A model as data: reading it, walking it, rewriting it, running it."""

from calibrant.graph.tensorflow import tensorflow

tensorflow()
