"""What the DMQ balancer does for every product of a keyword transformer: one table for each migration strength.

    python bench/balance.py [--shared ../shared/real] [--strengths 0.2,0.5,0.8] [--calibration 64] [--per-layer]

``alone``: signal-to-noise ratio of each layer's output when only this layer is quantized, its input being exact.
``in the network``: the same output in the fully quantized network, errors of the layers before it included.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import calibrant
from calibrant.cli.show import table
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import Runner
from calibrant.report.layer_table import decibels
from calibrant.result import Result

BATCH, PART = 16, 32
MINIMUM_MAXIMUM = (
    "ifmr_quantize { search_range_start : 1 search_range_end : 1.0001 search_step : 0.0001 "
    "max_percentile : 1 min_percentile : 1 }"
)


@dataclass(frozen=True)
class Measured:
    """Signal-to-noise ratios in dB by layer, and the relative error of the logits."""

    alone: Mapping[str, float]
    within: Mapping[str, float]
    logits: float
    muls: int
    tested: int


def measure(model: str, data: np.ndarray, strength: float | None, ranges: str, samples: int) -> Measured:
    """Quantize with one strength (None: without the balancer) and compare with the float model."""
    balancer = "" if strength is None else f"dmq_balancer {{ migration_strength : {strength} }}"
    result = calibrant.quantize(
        model,
        f"batch_num : {samples // BATCH}\ncommon_config {{ {ranges} {balancer} }}",
        data[:samples],
        batch_size=BATCH,
    )
    return _compare(result, data[samples:])


def _compare(result: Result, data: np.ndarray) -> Measured:
    """Sums over all test samples, a part of them in memory at a time."""
    layers = [layer for layer in result.network.layers if layer.weights is not None]
    ends = [layer.layer.bias or layer.layer.name for layer in layers]
    originals = [
        end if end in result.original.nodes else layer.layer.name for end, layer in zip(ends, layers, strict=True)
    ]
    fetches = (
        (result.network.graph, [layer.inputs[0].tensor for layer in layers]),
        (result.original, [*(f"{name}:0" for name in originals), result.original.outputs[0]]),
        (result.fakequant, [*(f"{name}:0" for name in ends), result.fakequant.outputs[0]]),
    )
    alone, within = np.zeros((len(layers), 2)), np.zeros((len(layers) + 1, 2))
    runners = [Runner(graph, tensors) for graph, tensors in fetches]
    for start in range(0, len(data), PART):
        part = data[start : start + PART]
        inputs, exact, noisy = (
            [np.asarray(value, np.float32) for value in runner({runner.graph.input_keys[0]: part})]
            for runner in runners
        )
        for number, (layer, values) in enumerate(zip(layers, inputs, strict=True)):
            signal = values @ layer.float_weights
            quantized = layer.inputs[0].quantizer.fake_quantize(values) @ layer.weights.dequantize()
            alone[number] += powers(signal, quantized)
        within += [powers(*pair) for pair in zip(exact, noisy, strict=True)]
    for runner in runners:
        runner.close()
    names = [layer.layer.name for layer in layers]
    return Measured(
        alone={name: decibels(*sums) for name, sums in zip(names, alone, strict=True)},
        within={name: decibels(*sums) for name, sums in zip(names, within, strict=False)},
        logits=float(np.sqrt(within[-1][1] / within[-1][0])),
        muls=sum(name.endswith("/balance/divided") for name in result.fakequant.nodes),
        tested=len(data),
    )


def powers(signal: np.ndarray, noisy: np.ndarray) -> tuple[float, float]:
    """Sum of the squares of a signal and of what was added to it."""
    return float(np.square(signal, dtype=np.float64).sum()), float(np.square(noisy - signal, dtype=np.float64).sum())


def least(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """The smallest gain of any layer, and which layer that is."""
    gains = {layer: after[layer] - before[layer] for layer in before}
    worst = min(gains, key=gains.get)
    return f"{gains[worst]:+.1f} dB ({worst.removeprefix('kws_transformer/')})"


def kind(layer: str) -> str:
    """A layer's name without the number of its block."""
    parts = [part for part in layer.split("/") if not part.startswith(("block_", "kws_"))]
    return "/".join(parts)


def summary(plain: Measured, balanced: Measured) -> list[tuple[object, ...]]:
    """One row for each kind of layer: ratios without and with, and the smallest and largest gain in each measure."""
    rows = []
    for name in dict.fromkeys(kind(layer) for layer in plain.alone):
        layers = [layer for layer in plain.alone if kind(layer) == name]
        row: list[object] = [name, len(layers)]
        for before, after in ((plain.alone, balanced.alone), (plain.within, balanced.within)):
            gains = [after[layer] - before[layer] for layer in layers]
            means = [f"{np.mean([found[layer] for layer in layers]):.1f}" for found in (before, after)]
            row += [*means, f"{min(gains):+.1f}", f"{max(gains):+.1f}"]
        rows.append(tuple(row))
    return rows


def each(plain: Measured, balanced: Measured) -> list[tuple[object, ...]]:
    """One row for each layer."""
    return [
        (
            nd.node_name(layer),
            *(f"{found[layer]:.1f}" for found in (plain.alone, balanced.alone, plain.within, balanced.within)),
        )
        for layer in plain.alone
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared" / "real")
    parser.add_argument("--strengths", default="0.2,0.5,0.8")
    parser.add_argument("--ranges", choices=("ifmr", "minmax"), default="ifmr", help="how activations are clipped")
    parser.add_argument("--calibration", type=int, default=64, help="calibration samples, a multiple of 16")
    parser.add_argument("--per-layer", action="store_true", help="one row for each of the 74 layers")
    arguments = parser.parse_args()
    folder = arguments.shared / "kwt1"
    if not folder.is_dir():
        raise SystemExit(f"{folder}: there is no such model; give the folder of real models with --shared")
    model = str(folder / "kwt1.pb")
    with np.load(folder / "features_98x40.npz") as file:
        data = file["x"].astype(np.float32)[file["y"] != 0]
    ranges = MINIMUM_MAXIMUM if arguments.ranges == "minmax" else ""
    plain = measure(model, data, None, ranges, arguments.calibration)
    print(f"calibrated on {arguments.calibration} samples, tested on the other {plain.tested}")
    print(f"without the balancer: relative error of the logits {plain.logits:.4f}")
    for strength in (float(text) for text in arguments.strengths.split(",")):
        balanced = measure(model, data, strength, ranges, arguments.calibration)
        print(
            f"\nmigration_strength {strength}: relative error of the logits {balanced.logits:.4f}, "
            f"{balanced.muls} divisions left in the graph, least gain of a layer in the network "
            f"{least(plain.within, balanced.within)}, alone {least(plain.alone, balanced.alone)}"
        )
        if arguments.per_layer:
            columns = ("layer", "alone, without", "with", "in the network, without", "with")
            table("signal-to-noise ratio, dB", columns, each(plain, balanced))
        else:
            columns = ("layers", "number", "alone, without", "with", "least", "most", "in the network, without", "with")
            table("signal-to-noise ratio, dB", (*columns, "least", "most"), summary(plain, balanced))


if __name__ == "__main__":
    main()
