"""Accuracy of the default settings against the number of calibration samples, on disjoint sets of each size.

    python bench/samples.py [--shared ../shared/real] [--only resnet8]

The first half of the samples of a model calibrates, the others test; the models are not part of the project.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

import calibrant
from calibrant.cli.show import table
from calibrant.evaluation.accuracy import Difference
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner

SIZES = (8, 16, 32, 64, 128, 256)
SETS = 4
Samples = tuple[np.ndarray, np.ndarray]


def _halves(path: Path, most_tests: int = 500) -> Samples:
    with np.load(path) as archive:
        values = next(archive[key] for key in archive.files if archive[key].ndim > 1).astype(np.float32)
    return values[:512], values[512 : 512 + most_tests]


def _resnet8(shared: Path) -> Samples:
    with np.load(shared / "resnet8_cifar10/cifar10_part.npz") as archive:
        return archive["x_calibration"].astype(np.float32), archive["x_test"].astype(np.float32)


def _mnist(shared: Path) -> Samples:
    content = gzip.decompress((shared / "mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    values = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255
    return values[:1024], values[1024:5024]


MODELS: dict[str, tuple[str, Callable[[Path], Samples]]] = {
    "resnet8": ("resnet8_cifar10/resnet8.pb", _resnet8),
    "ds_cnn": ("ds_cnn_kws/ds_cnn.pb", lambda shared: _halves(shared / "ds_cnn_kws/mfcc.npz")),
    "kwt1": ("kwt1/kwt1.pb", lambda shared: _halves(shared / "kwt1/features_98x40.npz", 300)),
    "mnist": ("mnist/fc_layers.pb", _mnist),
}


def scores(graph: Graph, samples: np.ndarray) -> np.ndarray:
    """What the network gives before its Softmax."""
    with Runner(graph, [before_softmax(graph, graph.outputs[0])]) as runner:
        parts = [runner({graph.input_keys[0]: part})[0] for part in np.array_split(samples, -(-len(samples) // 50))]
        return np.concatenate([np.array(part) for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/real"))
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    rows = []
    for name, (path, read) in MODELS.items():
        if arguments.only not in name:
            continue
        graph = load(arguments.shared / path)
        calibration, test = read(arguments.shared)
        calibration = calibration[np.random.default_rng(0).permutation(len(calibration))]
        reference = scores(graph, test)
        for size in SIZES:
            found = []
            for start in range(0, min(SETS, len(calibration) // size) * size, size):
                result = calibrant.quantize(graph, data=calibration[start : start + size], samples="all")
                difference = Difference()
                difference.update(reference, scores(result.fakequant, test))
                found.append((100 * difference.agreement, difference.sqnr_db))
            agreement, sqnr = zip(*found, strict=True)
            spread = [f"{np.mean(each):.2f} ({min(each):.2f}..{max(each):.2f})" for each in (agreement, sqnr)]
            rows.append((name, size, len(found), *spread))
    table("calibration samples", ("model", "samples", "sets", "equal predictions %", "SQNR dB"), rows)


if __name__ == "__main__":
    main()
