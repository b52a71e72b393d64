"""TensorFlow's reader and writer of LiteRT flatbuffers, imported after TensorFlow itself."""

from calibrant.graph.tensorflow import tensorflow

tensorflow()

from tensorflow.lite.python import schema_py_generated as schema  # noqa: E402
from tensorflow.lite.tools import flatbuffer_utils  # noqa: E402

__all__ = ["flatbuffer_utils", "schema"]
