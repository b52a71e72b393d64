"""Train the demonstration network on scikit-learn's handwritten digits and freeze it.

``python examples/digits/train.py`` needs TensorFlow and scikit-learn and takes about half a minute on two cores. It
writes beside itself (or into ``--out DIR``):

- ``digits.pb``: the frozen network, ``image`` [N, 8, 8, 1] float32 in 0...1 to ``Identity`` [N, 10] probabilities;
- ``calibration.npz``: ``image``, 64 images of the training part;
- ``test.npz``: ``x`` and ``y``, 500 images that training never saw, and their digits.

The seeds are fixed and TensorFlow's deterministic kernels are on: the same versions on the same kind of processor give
the same network.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

SEED = 20
TEST_IMAGES = 500
CALIBRATION_IMAGES = 64
EPOCHS = 100
BATCH_SIZE = 64


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images [N, 8, 8, 1] in 0...1 and labels [N]: x_train, x_test, y_train, y_test, every digit in proportion."""
    source = load_digits()
    images = (source.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = source.target.astype(np.int64)
    return train_test_split(images, labels, test_size=TEST_IMAGES, random_state=SEED, stratify=labels)


def network() -> keras.Model:
    """One of each: convolution and norm, depthwise convolution, residual add, both poolings, dense layer."""
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="conv1")(image)
    x = layers.BatchNormalization(name="norm1")(x)
    first = layers.ReLU(name="relu1")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise2")(first)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.ReLU(6.0, name="relu2")(x)
    x = layers.Conv2D(24, 1, use_bias=False, name="conv3")(x)
    x = layers.BatchNormalization(name="norm3")(x)
    x = layers.Add(name="residual3")([x, first])
    x = layers.ReLU(name="relu3")(x)
    x = layers.MaxPooling2D(2, name="maxpool")(x)
    x = layers.Conv2D(48, 3, padding="same", use_bias=False, name="conv4")(x)
    x = layers.BatchNormalization(name="norm4")(x)
    x = layers.ReLU(name="relu4")(x)
    x = layers.AveragePooling2D(2, name="avgpool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(10, name="dense")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="digits")


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every image moved by up to one pixel in each direction, the border filled with background."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = generator.integers(0, 3, size=(len(images), 2))
    return np.stack([frame[y : y + 8, x : x + 8] for frame, (y, x) in zip(padded, offsets, strict=True)])


def train(images: np.ndarray, labels: np.ndarray) -> keras.Model:
    """The trained network; prints its loss now and then."""
    model = network()
    steps = EPOCHS * -(-len(images) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=steps)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(SEED)
    for epoch in range(1, EPOCHS + 1):
        order = generator.permutation(len(images))
        moved = shifted(images[order], generator)
        batches = [slice(start, start + BATCH_SIZE) for start in range(0, len(images), BATCH_SIZE)]
        losses = [float(model.train_on_batch(moved[batch], labels[order[batch]])) for batch in batches]
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}  loss {np.mean(losses):.4f}")
    return model


def freeze(model: keras.Model) -> tf.compat.v1.GraphDef:
    """The model in inference mode with its variables as constants."""

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")])
    def infer(image: tf.Tensor) -> tf.Tensor:
        return model(image, training=False)

    return convert_variables_to_constants_v2(infer.get_concrete_function()).graph.as_graph_def()


def accuracy(graph: tf.compat.v1.GraphDef, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose largest output is their label, measured on the frozen graph."""
    with tf.Graph().as_default() as fresh:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=fresh) as session:
            outputs = session.run("Identity:0", {"image:0": images})
    return float(np.mean(np.argmax(outputs, axis=1) == labels))


def main() -> None:
    """Train, freeze, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder for the three files")
    out = parser.parse_args().out
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()

    x_train, x_test, y_train, y_test = digits()
    graph = freeze(train(x_train, y_train))
    print(f"accuracy on {len(x_test)} held-out images: {accuracy(graph, x_test, y_test):.4f}")

    out.mkdir(parents=True, exist_ok=True)
    (out / "digits.pb").write_bytes(graph.SerializeToString(deterministic=True))
    np.savez_compressed(out / "calibration.npz", image=x_train[:CALIBRATION_IMAGES])
    np.savez_compressed(out / "test.npz", x=x_test, y=y_test)
    for name in ("digits.pb", "calibration.npz", "test.npz"):
        print(f"{out / name}: {(out / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
