"""What equalized channels do for weights with one scale per tensor, per channel, and of 6 bits.

    python bench/equalize.py [--shared ../shared] [--only resnet8] [--round-weights] [--out rows.json]

The models are not part of the project. Columns: share of predictions equal to the float model's in %, and
signal-to-noise ratio at the logits in dB; the operations of the fake-quantized graph beside those without equalizing.
MobileNet has no labelled data: it is fed pictures of CIFAR-10, enlarged.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from real_models import CASES, ONE_SCALE, SIX_BITS, batch_count, batches_of, data_of

import calibrant
from calibrant.cli.show import table
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner
from calibrant.graph.tensorflow import tensorflow

CHOSEN = ("resnet8 .pb", "ds_cnn .pb", "arm DS_CNN_S", "arm CNN_S", "arm DNN_S", "mnist", "kwt1")
CONFIGS = {"per channel": "", "per tensor": ONE_SCALE, "per tensor, 6 bits": SIX_BITS}
MOBILENET, SIZE, TESTED = "tinymaix_mbnet96_0.25.h5", 96, 400

Outputs = Callable[[Graph], np.ndarray]
Job = tuple[str, Graph, Any, int, dict[str, Any], Outputs]


def logits(graph: Graph, batches: Any) -> np.ndarray:
    """All outputs before a final Softmax, [samples, outputs]."""
    with Runner(graph, [before_softmax(graph, graph.outputs[0])], optimized=False) as runner:
        parts = [np.array(runner(batch)[0]) for batch in batches]
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])


def real_jobs(shared: Path) -> Iterator[Job]:
    """The labelled models; labels are not used."""
    for case in CASES:
        if case.name in CHOSEN:
            graph = load(str(shared / case.model), case.inputs)
            data, test = data_of(shared, case.calibration), data_of(shared, case.test)
            count = batch_count(case, shared, data)

            def outputs(other: Graph, graph: Graph = graph, test: Any = test, case: Any = case) -> np.ndarray:
                return logits(other, batches_of(graph, test, case.options))

            yield case.name, graph, data, count, case.options, outputs


def mobilenet(shared: Path) -> Iterator[Job]:
    """MobileNet with enlarged pictures."""
    path = shared / "wild" / MOBILENET
    if not path.exists():
        return
    graph = load(str(path))
    with np.load(shared / "real" / "resnet8_cifar10" / "cifar10_part.npz") as file:
        pictures = [file["x_calibration"][:64], file["x_test"][:TESTED]]
    resize = tensorflow().image.resize
    large = [resize(part, (SIZE, SIZE), "bicubic").numpy().clip(0, 255) / 127.5 - 1 for part in pictures]
    for_calibration, test = (part.astype(np.float32) for part in large)

    def outputs(other: Graph) -> np.ndarray:
        return logits(other, [{graph.input_keys[0]: test[at : at + 32]} for at in range(0, len(test), 32)])

    yield "MobileNet 0.25", graph, for_calibration, 2, {"batch_size": 32}, outputs


def rows_of(job: Job, round_weights: bool) -> Iterator[dict[str, Any]]:
    """One row for each configuration, without and with equalizing."""
    name, graph, data, count, options, outputs = job
    reference = outputs(graph)
    for config, text in CONFIGS.items():
        for chosen in (False, True):
            result = calibrant.quantize(
                graph, f"batch_num : {count} {text}", data, equalize=chosen, round_weights=round_weights, **options
            )
            found = outputs(result.fakequant)
            ratio = np.square(reference).sum() / np.square(reference - found).sum()
            yield {
                "model": name,
                "weights": config,
                "equalized": chosen,
                "agreement": 100 * float((reference.argmax(1) == found.argmax(1)).mean()),
                "sqnr_db": 10 * float(np.log10(ratio)),
                "operations": len(result.fakequant.nodes),
            }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    parser.add_argument("--round-weights", action="store_true", help="round the weights for the output, too")
    parser.add_argument("--out", type=Path, help="write the rows as JSON as well")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        raise SystemExit(f"{arguments.shared}: there are no models; give their folder with --shared")
    rows: list[dict[str, Any]] = []
    for jobs in (mobilenet(arguments.shared), real_jobs(arguments.shared / "real")):
        for job in jobs:
            if arguments.only in job[0]:
                rows += rows_of(job, arguments.round_weights)
                print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
    shown = [
        (
            first["model"],
            first["weights"],
            *(f"{row['agreement']:.2f}, {row['sqnr_db']:.1f}" for row in (first, second)),
            second["operations"] - first["operations"],
        )
        for first, second in zip(rows[::2], rows[1::2], strict=True)
    ]
    table("equal predictions in %, SQNR in dB", ("model", "weights", "plain", "equalized", "operations added"), shown)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
