"""Networks with random weights whose activations look like those of trained ones.

Norms have the statistics of the data, random scales and shifts, so that every layer gets numbers of a size of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

APPLICATIONS = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0"),
    *("DenseNet121", "InceptionV3", "NASNetMobile", "ResNet50", "ResNet50V2", "Xception", "VGG16", "ConvNeXtTiny"),
    *("InceptionResNetV2", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetV2B1"),
    *("EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S", "DenseNet169", "DenseNet201", "ResNet101"),
    *("ResNet101V2", "ResNet152", "ResNet152V2", "VGG19", "ConvNeXtSmall", "EfficientNetB5", "EfficientNetB6"),
    *("EfficientNetV2M", "ConvNeXtBase", "EfficientNetB7", "NASNetLarge", "EfficientNetV2L", "ConvNeXtLarge"),
)
"""All of ``keras.applications``, light ones first; ConvNeXtXLarge (1.4 GB) only by name."""
SMALL = {"NASNetLarge": 32, "EfficientNetB7": 32, "EfficientNetV2L": 32, "ConvNeXtLarge": 32, "ConvNeXtXLarge": 32}
SIZE = 96


def application(name: str) -> Any:
    """One of ``keras.applications`` for small images."""
    import keras

    size = SMALL.get(name, SIZE)
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=100)


def enliven(model: Any, feed: Mapping[str, np.ndarray]) -> None:
    """Give norms the statistics of a batch, and random scales and shifts.

    Parameters
    ----------
    model : a Keras model; it is changed.
    feed : a batch, by the names of the inputs.
    """
    import keras

    random = np.random.default_rng(0)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model._flatten_layers():
        for weight in layer.weights:
            if weight.name == "gamma":
                ones = float(np.abs(np.asarray(weight)).max()) > 0.5  # a layer scale of ConvNeXt begins near 0
                weight.assign(random.uniform(0.5, 1.5, weight.shape) * (1 if ones else 0.3))
            elif weight.name in ("beta", "bias"):
                weight.assign(np.asarray(weight) + random.normal(0, 0.1, weight.shape))
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model([feed[tensor.name] for tensor in model.inputs], training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _vit() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((64, 64, 3))
    x = layers.Reshape((64, 48))(layers.Conv2D(48, 8, strides=8)(inputs))
    x = x + layers.Embedding(64, 48)(np.arange(64)[np.newaxis])
    for _ in range(3):
        x = _attention_block(x, "gelu")
    return keras.Model(inputs, layers.Dense(10)(layers.LayerNormalization()(x)[:, 0]))


def _attention_block(x: Any, activation: Any, mask: Any = None) -> Any:
    from keras import layers

    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(4, 12)(y, y, attention_mask=mask)
    y = layers.LayerNormalization()(x)
    return x + layers.Dense(x.shape[-1])(layers.Dense(4 * x.shape[-1], activation=activation)(y))


def _bert() -> Any:
    import keras
    from keras import layers, ops

    words = keras.Input((24,), dtype="int32", name="words")
    used = keras.Input((24,), dtype="int32", name="used")
    x = layers.Embedding(100, 48)(words) + layers.Embedding(24, 48)(np.arange(24)[np.newaxis])
    x = layers.LayerNormalization()(x)
    mask = layers.Reshape((1, 24))(used)
    for _ in range(2):
        x = _attention_block(x, lambda y: ops.gelu(y, approximate=True), mask)
    first = layers.Dense(48, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model([words, used], [layers.Dense(3, name="label")(first), layers.Dense(100, name="word")(x)])


def _u_net() -> Any:
    import keras
    from keras import layers

    def block(x: Any, size: int) -> Any:
        for _ in range(2):
            x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(size, 3, padding="same", use_bias=False)(x)))
        return x

    inputs = keras.Input((64, 64, 3))
    first = block(inputs, 8)
    second = block(layers.MaxPooling2D()(first), 16)
    x = block(layers.MaxPooling2D()(second), 32)
    x = block(layers.Concatenate()([layers.Conv2DTranspose(16, 2, strides=2)(x), second]), 16)
    x = block(layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), first]), 8)
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(x))


def _recurrent(kind: str, **options: Any) -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((20, 12))
    x = layers.Dense(16, activation="relu")(inputs)
    x = getattr(layers, kind)(24, **options)(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


def _yolo() -> Any:
    import keras
    from keras import layers, ops

    def conv(x: Any, size: int, kernel: int = 3, strides: int = 1) -> Any:
        x = layers.Conv2D(size, kernel, strides=strides, padding="same", use_bias=False)(x)
        return layers.Activation("silu")(layers.BatchNormalization()(x))

    def csp(x: Any, size: int) -> Any:
        left, right = ops.split(conv(x, size, 1), 2, axis=-1)
        return conv(layers.Concatenate()([left, right, right + conv(conv(right, size // 2), size // 2)]), size, 1)

    inputs = keras.Input((96, 96, 3))
    x = csp(conv(conv(inputs, 8, 3, 2), 16, 3, 2), 16)
    near = csp(conv(x, 32, 3, 2), 32)
    far = csp(conv(near, 32, 3, 2), 32)
    pools = [far]
    for _ in range(3):
        pools.append(layers.MaxPooling2D(5, strides=1, padding="same")(pools[-1]))
    far = conv(layers.Concatenate()(pools), 32, 1)
    near = csp(layers.Concatenate()([layers.UpSampling2D()(far), near]), 32)
    found = []
    for level, stride in ((near, 8), (far, 16)):
        side = 96 // stride
        raw = layers.Reshape((side * side, 9))(layers.Conv2D(9, 1)(level))
        centre, size, scores = raw[..., :2], raw[..., 2:4], raw[..., 4:]
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(1, -1, 2).astype(np.float32)
        centre = (ops.sigmoid(centre) * 2 - 0.5 + grid) * stride
        size = (ops.sigmoid(size) * 2) ** 2 * stride
        found.append(layers.Concatenate()([centre, size, ops.sigmoid(scores)]))
    return keras.Model(inputs, layers.Concatenate(axis=1)(found))


def _super_resolution() -> Any:
    import keras
    import tensorflow as tf
    from keras import layers

    inputs = keras.Input((None, None, 1))
    x = first = layers.Conv2D(16, 5, padding="same")(inputs)
    for _ in range(2):
        x = x + layers.Conv2D(16, 3, padding="same")(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.Conv2D(4, 3, padding="same")(x + first)
    return keras.Model(inputs, layers.Lambda(lambda y: tf.nn.depth_to_space(y, 2))(x))


def _siamese() -> Any:
    import keras
    from keras import layers, ops

    pair = [keras.Input((32, 32, 1), name=name) for name in ("left", "right")]
    tower = keras.Sequential(
        [
            *(layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Conv2D(16, 3, strides=2, activation="relu")),
            *(layers.Flatten(), layers.Dense(32)),
        ]
    )
    left, right = (tower(each) for each in pair)
    return keras.Model(pair, layers.Dense(1, activation="sigmoid")(ops.abs(left - right)))


def _time_distributed() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((4, 24, 24, 3))
    x = layers.TimeDistributed(layers.Conv2D(8, 3, strides=2, activation="relu"))(inputs)
    x = layers.TimeDistributed(layers.Flatten())(x)
    x = layers.TimeDistributed(layers.Dense(16, activation="relu"))(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def _open_size() -> Any:
    import keras

    return keras.applications.MobileNetV3Small(weights=None, input_shape=(None, None, 3), classes=10)


def _convolution_3d() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((8, 16, 16, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv3D(8, 3, padding="same")(inputs)))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(8, 3, strides=2, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(4)(x))


def _half() -> Any:
    import keras
    from keras import layers

    with_half = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, activation="relu", dtype=with_half)(inputs)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", dtype=with_half)(x)
    x = layers.GlobalAveragePooling2D(dtype=with_half)(x)
    return keras.Model(inputs, layers.Dense(5, dtype="float32")(x))


def _one_hot() -> Any:
    import keras
    from keras import layers, ops

    words = keras.Input((12,), dtype="int32", name="words")
    x = layers.Conv1D(16, 3, activation="relu")(ops.one_hot(words, 30))
    return keras.Model(words, layers.Dense(4)(layers.GlobalMaxPooling1D()(x)))


MODERN: Mapping[str, Callable[[], Any]] = {
    "vit": _vit,
    "bert": _bert,
    "u_net": _u_net,
    "yolo": _yolo,
    "super_resolution": _super_resolution,
    "siamese": _siamese,
    "time_distributed": _time_distributed,
    "mobilenet_v3_open_size": _open_size,
    "gru": lambda: _recurrent("GRU"),
    "lstm": lambda: _recurrent("LSTM"),
    "gru_unrolled": lambda: _recurrent("GRU", unroll=True),
    "convolution_3d": _convolution_3d,
    "half_precision": _half,
    "one_hot": _one_hot,
}
"""Small networks of the kinds that are in use, by name."""
