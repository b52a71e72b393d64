"""Parts of a graph written as TensorFlow's converter takes them and LiteRT's kernels compute them."""
