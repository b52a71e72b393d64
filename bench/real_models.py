"""Quantize every model of a folder of real trained models and print what it costs.

    python bench/real_models.py [--shared ../shared/real] [--only resnet8] [--config quant.cfg]

The models are not part of the project. Columns: how far the folded float graph is from the original (largest difference
relative to the largest output), accuracy of both where there are labels, share of equal predictions, signal-to-noise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import calibrant
import calibrant.graph.reading.load
from calibrant.cli.show import table
from calibrant.data.open_data import ImageOptions, InputSpec, open_data
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import Runner, input_shapes
from calibrant.result import Result

BATCH = 16
CALIBRATION = 64


@dataclass(frozen=True)
class Case:
    """One model, the data it is calibrated on, and the data it is tested on."""

    name: str
    model: str
    calibration: str
    test: str
    labels: str | None = None
    ignore: tuple[int, ...] = ()
    inputs: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


CIFAR = "resnet8_cifar10/cifar10_part.npz"
MFCC = "ds_cnn_kws/mfcc.npz"
WIDE, NARROW = "arm_kws/mfcc_w640_s320_d10.npz", "arm_kws/mfcc_w640_s640_d10.npz"
KWT = "kwt1/features_98x40.npz"
DIGITS = "mnist/t10k-images-idx3-ubyte.gz"
WAKE = "wake_word/calibration_samples.npz:specs"
BYTES = {"image_options": ImageOptions(scale=1 / 255)}


def split(name: str, model: str, data: str, **rest: Any) -> Case:
    """A case whose data have no split: the first samples calibrate, the others test."""
    return Case(
        name, model, f"{data}:x[:{CALIBRATION}]", f"{data}:x[{CALIBRATION}:]", f"{data}:y[{CALIBRATION}:]", **rest
    )


def draw(case: Case, number: int, draws: int) -> Case:
    """A case with one of several disjoint sets of calibration samples; the test samples are in none of them."""
    chosen = f"[{number * CALIBRATION}:{(number + 1) * CALIBRATION}]"
    first, rest = f"[:{CALIBRATION}]", f"[{CALIBRATION}:]"
    after = f"[{draws * CALIBRATION}:]"
    labels = case.labels.replace(rest, after) if case.labels else None
    return replace(
        case, calibration=case.calibration.replace(first, chosen), test=case.test.replace(rest, after), labels=labels
    )


ONE_SCALE = "common_config { arq_quantize { channel_wise : false } }"
SIX_BITS = (
    ONE_SCALE + ' override_layer_types { layer_type : "Conv2D" calibration_config '
    "{ arq_quantize { quant_bits : 6 channel_wise : false } } }"
)
"""Weights with one scale a layer, those of convolutions with 6 bits."""

CASES = (
    Case(
        "resnet8 .pb", "resnet8_cifar10/resnet8.pb", f"{CIFAR}:x_calibration[:64]", f"{CIFAR}:x_test", f"{CIFAR}:y_test"
    ),
    Case(
        "resnet8 .h5", "resnet8_cifar10/resnet8.h5", f"{CIFAR}:x_calibration[:64]", f"{CIFAR}:x_test", f"{CIFAR}:y_test"
    ),
    split("ds_cnn SavedModel", "ds_cnn_kws/saved_model", MFCC),
    split("ds_cnn .pb", "ds_cnn_kws/ds_cnn.pb", MFCC),
    split("arm DS_CNN_S", "arm_kws/DS_CNN_S.pb", WIDE, ignore=(0,), inputs=("Mfcc",)),
    split("arm CNN_S", "arm_kws/CNN_S.pb", WIDE, ignore=(0,), inputs=("Mfcc",)),
    split("arm DNN_S", "arm_kws/DNN_S.pb", NARROW, ignore=(0,), inputs=("Mfcc",)),
    split("arm LSTM_S", "arm_kws/LSTM_S.pb", NARROW, ignore=(0,), inputs=("Mfcc",)),
    split("kwt1", "kwt1/kwt1.pb", KWT, ignore=(0,)),
    Case(
        "mnist",
        "mnist/fc_layers.pb",
        f"{DIGITS}[:64]",
        f"{DIGITS}[64:]",
        "mnist/t10k-labels-idx1-ubyte.gz[64:]",
        options=BYTES,
    ),
    Case("autoencoder .pb", "autoencoder/ad01.pb", "random:640", "random:640"),
    Case("autoencoder .h5", "autoencoder/ad01.h5", "random:640", "random:640"),
    Case(
        "wake_word",
        "wake_word/wake_word.pb",
        f"{WAKE}[:30]",
        f"{WAKE}[30:]",
        "wake_word/calibration_samples.npz:labels[30:]",
    ),
)


def data_of(shared: Path, source: str) -> Any:
    """A path below the folder, or reproducible noise where a model comes without data."""
    if source.startswith("random:"):
        return (
            np.random.default_rng(7).normal(0, 1, (CALIBRATION, int(source.removeprefix("random:")))).astype(np.float32)
        )
    return str(shared / source)


def outputs_of(graph: Graph, batches: Any) -> np.ndarray:
    """All outputs of a graph."""
    with Runner(graph) as runner:
        return np.concatenate([np.array(runner(batch)[0]) for batch in batches])


def batches_of(graph: Graph, data: Any, options: dict[str, Any]) -> Any:
    """Open data for a graph."""
    return open_data(data, [InputSpec(key, *rest) for key, rest in input_shapes(graph).items()], **options)


def measure(case: Case, shared: Path, config: str | None) -> tuple[Any, ...]:
    """One row of the table."""
    calibration = data_of(shared, case.calibration)
    start = time.perf_counter()
    result: Result = calibrant.quantize(
        str(shared / case.model),
        config=config or f"batch_num : {batch_count(case, shared, calibration)}",
        data=calibration,
        inputs=case.inputs,
        **case.options,
    )
    seconds = time.perf_counter() - start
    test = data_of(shared, case.test)
    float_outputs = outputs_of(result.original, batches_of(result.original, test, case.options))
    folded_outputs = outputs_of(result.folded.graph, batches_of(result.folded.graph, test, case.options))
    folding = float(np.abs(folded_outputs - float_outputs).max() / np.abs(float_outputs).max())
    scores = calibrant.evaluate(
        [result.original, result.fakequant],
        test,
        str(shared / case.labels) if case.labels else None,
        ignore_labels=case.ignore,
        **case.options,
    )
    first, second = scores
    lost = None if first.top1 is None else f"{100 * (first.top1 - second.top1):+.2f}"
    return (
        case.name,
        len(result.network.layers),
        len(result.folded.fusions),
        f"{folding:.1e}",
        second.samples,
        percent(first.top1),
        percent(second.top1),
        lost,
        percent(second.agreement),
        f"{second.sqnr_db:.1f}",
        f"{seconds:.1f}",
    )


def batch_count(case: Case, shared: Path, data: Any) -> int:
    """How many batches the calibration data are."""
    graph = calibrant.graph.reading.load.load(str(shared / case.model), case.inputs)
    return batches_of(graph, data, case.options).count


def percent(share: float | None) -> str | None:
    """A share as the table shows it."""
    return None if share is None else f"{100 * share:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared" / "real")
    parser.add_argument("--only", default="", help="only the cases whose name contains this")
    parser.add_argument("--config", help="configuration file; the defaults otherwise")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        raise SystemExit(f"{arguments.shared}: there are no real models; give their folder with --shared")
    rows = [measure(case, arguments.shared, arguments.config) for case in CASES if arguments.only in case.name]
    columns = (
        "model",
        "layers",
        "fused",
        "folded diff",
        "samples",
        "float %",
        "INT8 %",
        "lost",
        "agree %",
        "SQNR dB",
        "s",
    )
    table("default configuration", columns, rows)


if __name__ == "__main__":
    main()
