"""What calibration of real trained models costs against plain inference, side by side in one run.

    python bench/speed_real.py [--shared ../shared/real] [--repetitions 5] [--only resnet8]

The models are not part of the project; one that is absent is a row that says so. Networks as small as these run a batch
in milliseconds, so what is paid once a tensor, as the searches are, weighs more than on ResNet-50.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from results import store
from speed import beside_plain

from calibrant.cli.show import table
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load

BATCH = 32
MODELS = {
    "resnet8": ("resnet8_cifar10/resnet8.pb", "resnet8_cifar10/cifar10_part.npz", "x_calibration"),
    "ds_cnn": ("ds_cnn_kws/ds_cnn.pb", "ds_cnn_kws/mfcc.npz", "x"),
    "kwt1": ("kwt1/kwt1.pb", "kwt1/features_98x40.npz", "x"),
}


def measure(model: Path, data: Path, key: str, repetitions: int) -> dict[str, Any]:
    """Medians in seconds over all batches."""
    graph = fold(load(str(model))).graph
    layers, _ = find_layers(graph)
    tensors = dict.fromkeys(nd.data_inputs(graph.nodes[layer.name])[layer.data_inputs[0]] for layer in layers)
    with np.load(data) as arrays:
        samples = arrays[key].astype(np.float32)
    shape = [size or -1 for size in graph.shape(graph.inputs[0])[1:]]
    batches = [
        {graph.input_keys[0]: samples[start : start + BATCH].reshape(-1, *shape)}
        for start in range(0, len(samples) - BATCH + 1, BATCH)
    ]
    return beside_plain(graph, tensors, batches, repetitions)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "real")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    rows = []
    for name, (model, data, key) in MODELS.items():
        if arguments.only not in name:
            continue
        absent = [file for file in (model, data) if not (arguments.shared / file).exists()]
        if absent:
            rows.append((name, *[None] * 10, f"skipped: {arguments.shared / absent[0]} is not there"))
            continue
        found[name] = measure(arguments.shared / model, arguments.shared / data, key, arguments.repetitions)
        rows.append(
            (name, *(value if isinstance(value, int) else round(value, 3) for value in found[name].values()), "")
        )
    columns = (
        "batches",
        "batch_size",
        "tensors",
        "plain_s",
        "observe_s",
        "ifmr_s",
        "hfmg_s",
        "observe_ratio",
        "ifmr_ratio",
        "hfmg_ratio",
    )
    table("calibration of real models beside plain inference, medians", ("model", *columns, ""), rows)
    store(found)


if __name__ == "__main__":
    main()
