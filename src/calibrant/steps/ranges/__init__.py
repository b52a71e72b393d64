"""From what was observed to the scale and offset of every tensor."""
