"""From the graph to a float LiteRT file, and which of its tensors are which of the graph."""
