"""Which operators of a LiteRT file run on integers, and with which scales."""
