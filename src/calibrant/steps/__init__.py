"""The steps of the story in ``calibrant.quantize`` that turn a plan and a graph into quantization parameters."""
