"""Small networks whose parts a LiteRT file has had trouble with, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def _detector() -> Any:
    import keras
    import tensorflow as tf
    from keras import layers

    def select(found: Any) -> Any:
        boxes, scores = found[0][0], tf.reduce_max(found[1][0], -1)
        chosen = tf.image.non_max_suppression_with_scores(boxes, scores, 10, 0.5, 0.1)[0]
        return tf.gather(boxes, chosen)[None]

    inputs = keras.Input((64, 64, 3), batch_size=1)
    x = inputs
    for size in (8, 16):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(size, 3, strides=2, padding="same")(x)))
    boxes = layers.Reshape((512, 4))(layers.Conv2D(8, 3, padding="same")(x))
    scores = layers.Reshape((512, 3))(layers.Conv2D(6, 3, padding="same", activation="sigmoid")(x))
    return keras.Model(inputs, layers.Lambda(select, output_shape=(None, 4))([boxes, scores]))


def _causal_convolutions() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((64, 8))
    x = layers.Conv1D(16, 1)(inputs)
    for rate in (1, 2, 4, 8):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = layers.ReLU()(x + layers.Conv1D(16, 3, padding="causal", dilation_rate=rate)(y))
    return keras.Model(inputs, layers.Dense(4)(x[:, -1]))


def _gated_attention() -> Any:
    import keras
    from keras import layers, ops

    def norm(x: Any) -> Any:
        return x * ops.rsqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-6)

    words = keras.Input((16,), dtype="int32", name="words")
    x = layers.Embedding(50, 32)(words)
    for _ in range(2):
        query, key, value = (ops.reshape(layers.Dense(32)(norm(x)), (-1, 16, 4, 8)) for _ in range(3))
        scores = ops.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8) + np.triu(np.full((16, 16), -1e9), 1)
        read = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), value)
        x = x + layers.Dense(32)(ops.reshape(read, (-1, 16, 32)))
        x = x + layers.Dense(32)(ops.silu(layers.Dense(64)(norm(x))) * layers.Dense(64)(norm(x)))
    return keras.Model(words, layers.Dense(50)(norm(x)))


def _both_directions() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((30, 12))
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(layers.Dense(12, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(4)(x))


def _group_convolution() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 8))
    x = layers.Conv2D(16, 3, groups=4, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(16, 3, groups=2, strides=2, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


MORE: Mapping[str, Callable[[], Any]] = {
    "detector": _detector,
    "causal_convolutions": _causal_convolutions,
    "gated_attention": _gated_attention,
    "both_directions": _both_directions,
    "group_convolution": _group_convolution,
}
