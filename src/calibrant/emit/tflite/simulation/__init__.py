"""What a LiteRT file computes, as a TensorFlow graph made from that file, and each operator checked by it."""
