"""What ``--refine`` does to small networks of modern shape, which this script trains on handwritten digits.

    python bench/trained.py [--shared ../shared/real] [--only gru] [--draws 3] [--work .bench/trained] [--out rows.json]

Hard-swish with squeeze and excitation, inverted bottlenecks with swish, ConvNeXt blocks, a transformer, a U-Net that
names the digit of every pixel, and a GRU. 6,000 digits train, sets of 64 calibrate, all others test. The last column is
how much better the answers (right or wrong, of the same samples) are with ``--refine`` than without, in points and in
standard errors of the paired differences; a trained network is kept in the work folder and used again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from real_models import SIX_BITS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
TRAINED, CALIBRATION, BATCH = 6000, 64, 32
CLASSES, BACKGROUND = 11, 10
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "--refine": {"refine": True},
    "--refine --budget 25%": {"refine": True, "budget": 0.25},
    "--refine --round-weights": {"refine": True, "round_weights": True},
    "6 bits per tensor": {"config": SIX_BITS},
    "6 bits per tensor --round-weights": {"config": SIX_BITS, "round_weights": True},
    "6 bits per tensor --refine --round-weights": {"config": SIX_BITS, "refine": True, "round_weights": True},
}


def digits(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, float32 [samples, 32, 32, 1] in 0...1, and what they show, in an order drawn once."""
    parts = []
    for name, header in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)):
        with gzip.open(shared / "mnist" / name) as file:
            parts.append(np.frombuffer(file.read(), np.uint8, offset=header))
    order = np.random.default_rng(0).permutation(len(parts[1]))
    pictures = parts[0].reshape(-1, 28, 28, 1)[order].astype(np.float32) / 255
    return np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0))), parts[1][order].astype(np.int64)


def by_pixel(pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The digit of every pixel of a stroke, BACKGROUND elsewhere, [samples, 32, 32]."""
    return np.where(pictures[..., 0] > 0.3, labels[:, np.newaxis, np.newaxis], BACKGROUND)


def _excited(x: Any, gate: str) -> Any:
    from keras import layers

    channels = x.shape[-1]
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    small = layers.Conv2D(max(channels // 4, 4), 1, activation="relu")(mean)
    return layers.Multiply()([x, layers.Conv2D(channels, 1, activation=gate)(small)])


def _inverted(x: Any, channels: int, stride: int, activation: str, gate: str) -> Any:
    from keras import layers

    y = layers.Activation(activation)(
        layers.BatchNormalization(momentum=0.9)(layers.Conv2D(x.shape[-1] * 4, 1, use_bias=False)(x))
    )
    y = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(y)
    y = _excited(layers.Activation(activation)(layers.BatchNormalization(momentum=0.9)(y)), gate)
    y = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(channels, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if y.shape == x.shape else y


def _bottlenecks(activation: str, gate: str) -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 1))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs))
    x = layers.Activation(activation)(x)
    for channels, stride in ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1)):
        x = _inverted(x, channels, stride, activation, gate)
    x = layers.Activation(activation)(layers.Conv2D(96, 1)(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _hard_swish() -> Any:
    return _bottlenecks("hard_swish", "hard_sigmoid")


def _swish() -> Any:
    return _bottlenecks("swish", "sigmoid")


def _convnext() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 1))
    x = layers.LayerNormalization()(layers.Conv2D(32, 4, strides=4)(inputs))
    for channels in (32, 32, 64, 64):
        if channels != x.shape[-1]:
            x = layers.Conv2D(channels, 2, strides=2)(layers.LayerNormalization()(x))
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(7, padding="same")(x))
        y = layers.Dense(channels)(layers.Dense(4 * channels, activation="gelu")(y))
        x = layers.Add()([x, y])
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _transformer() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 1))
    x = layers.Reshape((64, 48))(layers.Conv2D(48, 4, strides=4)(inputs))
    x = x + layers.Embedding(64, 48)(np.arange(64)[np.newaxis])
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 12)(y, y)])
        y = layers.Dense(96, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(48)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _u_net() -> Any:
    import keras
    from keras import layers

    def convolved(x: Any, channels: int) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(channels, 3, padding="same")(x)))

    inputs = keras.Input((32, 32, 1))
    kept = []
    x = inputs
    for channels in (8, 16, 32):
        x = convolved(x, channels)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = convolved(x, 64)
    for skipped in reversed(kept):
        x = layers.Conv2DTranspose(skipped.shape[-1], 2, strides=2)(x)
        x = convolved(layers.Concatenate()([x, skipped]), skipped.shape[-1])
    return keras.Model(inputs, layers.Conv2D(CLASSES, 1)(x))


def _gru() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 1))
    x = layers.GRU(48, return_sequences=True)(layers.Reshape((32, 32))(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GRU(48)(x)))


NETWORKS: dict[str, Callable[[], Any]] = {
    "hard-swish": _hard_swish,
    "swish": _swish,
    "ConvNeXt": _convnext,
    "transformer": _transformer,
    "U-Net": _u_net,
    "GRU": _gru,
}


def trained(name: str, pictures: np.ndarray, answers: np.ndarray, work: Path, epochs: int) -> Any:
    """A network, trained or as it was kept."""
    import keras

    path = work / f"{name}.keras"
    if path.exists():
        return keras.saving.load_model(path)
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(pictures, answers, batch_size=64, epochs=epochs, verbose=0)
    work.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


def rows_of(name: str, model: Any, data: tuple[np.ndarray, np.ndarray], draws: int) -> list[dict[str, Any]]:
    """A row for each way, means over the draws."""
    import calibrant
    from calibrant.graph.reading.load import load

    graph = load(model)
    pictures, answers = data
    test, labels = pictures[draws * CALIBRATION :], answers[draws * CALIBRATION :]
    reference = scores(graph, test)
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(draws):
        calibration = pictures[number * CALIBRATION : (number + 1) * CALIBRATION]
        right = {}
        for way, options in WAYS.items():
            result = calibrant.quantize(graph, data=calibration, batch_size=BATCH, **options)
            found = scores(result.fakequant, test)
            right[way] = (found.argmax(-1) == labels).reshape(len(test), -1).mean(axis=1)
            before = (reference.argmax(-1) == labels).reshape(len(test), -1).mean(axis=1)
            gain = right[way] - right["default"]
            rows[way].append(
                {
                    "float": 100 * float(before.mean()),
                    "lost": 100 * float((before - right[way]).mean()),
                    "agreement": 100 * float((found.argmax(-1) == reference.argmax(-1)).mean()),
                    "sqnr_db": 10 * float(np.log10(np.square(reference).sum() / np.square(reference - found).sum())),
                    "gain": 100 * float(gain.mean()),
                    "error": 100 * float(gain.std(ddof=1) / np.sqrt(len(gain))),
                }
            )
    return [{"model": name, "way": way, **_joined(found)} for way, found in rows.items()]


def scores(graph: Any, pictures: np.ndarray) -> np.ndarray:
    """The outputs."""
    from calibrant.graph.running.run import Runner

    with Runner(graph) as runner:
        parts = [
            np.array(runner({graph.input_keys[0]: pictures[at : at + 250]})[0]) for at in range(0, len(pictures), 250)
        ]
    return np.concatenate(parts)


def _joined(found: list[dict[str, float]]) -> dict[str, float]:
    joined = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
    spread = np.std([row["lost"] for row in found], ddof=1) if len(found) > 1 else 0.0
    return {**joined, "lost_spread": float(spread)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=HERE.parents[1] / "shared" / "real")
    parser.add_argument("--only", default="", help="only the networks whose name contains this")
    parser.add_argument("--draws", type=int, default=3, help="sets of calibration samples")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--work", type=Path, default=HERE.parent / ".bench" / "trained")
    parser.add_argument("--out", type=Path, help="write the rows as JSON as well")
    arguments = parser.parse_args()
    if not (arguments.shared / "mnist").is_dir():
        raise SystemExit(f"{arguments.shared}: there are no digits; give the folder of real models with --shared")
    from calibrant.cli.show import table

    pictures, labels = digits(arguments.shared)
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        if arguments.only not in name:
            continue
        answers = by_pixel(pictures, labels) if name == "U-Net" else labels
        model = trained(name, pictures[:TRAINED], answers[:TRAINED], arguments.work, arguments.epochs)
        rows += rows_of(name, model, (pictures[TRAINED:], answers[TRAINED:]), arguments.draws)
        print(f"{name}: {rows[-1]['float']:.2f} % right in float", file=sys.stderr, flush=True)
    shown = [
        (
            row["model"],
            row["way"],
            f"{row['lost']:.2f}±{row['lost_spread']:.2f}",
            f"{row['agreement']:.2f}",
            f"{row['sqnr_db']:.1f}",
            f"{row['gain']:+.2f}±{row['error']:.2f}",
        )
        for row in rows
    ]
    columns = ("network", "", "lost", "agreement %", "SQNR dB", "gain")
    table(f"trained on digits, {arguments.draws} × {CALIBRATION} calibration samples", columns, shown)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
