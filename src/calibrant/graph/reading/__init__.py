"""From what a user has, a file, a folder or a model in memory, to a graph: formats, bounds, trust, and its ends."""
