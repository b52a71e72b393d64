"""The network as a LiteRT (TensorFlow Lite) file whose quantized layers run on int8 kernels, with our scales."""
