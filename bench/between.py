"""What codes between the layers cost: the LiteRT file beside the fake-quantized model, plain and refined.

    python bench/between.py [--shared ../shared] [--only kwt1]

The models are not part of the project; labels are not used. A cell: share of predictions equal to the float model's in
%, and signal-to-noise ratio at the logits in dB.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from equalize import CHOSEN, logits
from real_models import CASES, Case, batch_count, batches_of, data_of

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.cli.show import table
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.reading.load import load


def file_logits(content: bytes, batches: Any) -> np.ndarray:
    """What a LiteRT file has before a final Softmax, [samples, outputs]."""
    runner = TfliteRunner(content)
    parts = []
    for batch in batches:
        runner.run(dict(enumerate(np.array(values) for values in batch.values())))
        parts.append(runner.real(runner.points[0]))
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])


def cells(case: Case, shared: Path) -> Iterator[str]:
    """Of the fake-quantized model and the file, plain; and of both, refined."""
    graph = load(str(shared / case.model), case.inputs)
    data, test = data_of(shared, case.calibration), data_of(shared, case.test)
    wanted = logits(graph, batches_of(graph, test, case.options))
    for refine in (False, True):
        config = f"batch_num : {batch_count(case, shared, data)}"
        result = calibrant.quantize(graph, config, data, refine=refine, export="tflite", **case.options)
        [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
        for found in (
            logits(result.fakequant, batches_of(graph, test, case.options)),
            file_logits(bytes(content), batches_of(graph, test, case.options)),
        ):
            agreement = 100 * np.mean(wanted.argmax(1) == found.argmax(1))
            yield f"{agreement:.2f}, {arrays_sqnr_db(wanted, found):.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    arguments = parser.parse_args()
    real = arguments.shared / "real"
    if not real.is_dir():
        raise SystemExit(f"{real}: there are no models; give the folder above it with --shared")
    chosen = [case for case in CASES if case.name in CHOSEN and arguments.only in case.name]
    rows = [(case.name, *cells(case, real)) for case in chosen]
    columns = ("model", "fake-quantized", ".tflite", "refined", ".tflite, refined")
    table("equal predictions in %, SQNR in dB", columns, rows)


if __name__ == "__main__":
    main()
