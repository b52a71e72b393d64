"""The LiteRT file, its simulation and its node map; made again with other sizes where the first ones do not run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from calibrant.emit.exportable import Exportable, Exported
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.conversion.name_check import OtherNumbersError, sample_without_ties
from calibrant.emit.tflite.conversion.open_sizes import of_samples, samples_a_run, with_tried_shape_hint
from calibrant.emit.tflite.far_outputs import far_outputs
from calibrant.emit.tflite.file_share import file_share
from calibrant.emit.tflite.model import LiteFile, lite_file
from calibrant.emit.tflite.node_map import tflite_node_map
from calibrant.emit.tflite.sample import SAMPLES, from_batch, has_numbers_of_rows, later_samples, made_up
from calibrant.emit.tflite.trial import TrialError
from calibrant.errors import CalibrantError, ModelError, Problem
from calibrant.file_endings import SIMULATION, TFLITE, TFLITE_NODE_MAP
from calibrant.graph.graph import Graph
from calibrant.graph.sample_axis import inputs_with_samples
from calibrant.progress import LOG

_Batch = Mapping[str, np.ndarray]
_Sample = Mapping[int, np.ndarray]


def tflite_export(source: Exportable) -> Exported:
    """The files.

    Raises
    ------
    CalibrantError
        The converter does not take the network, or no file of it runs.
    """
    batch = None if source.batches is None else next(iter(source.batches))
    made, sample = _made(source, batch)
    if sample is not None:
        _warn_of_far_outputs(source, made, sample)
    share = file_share(made, source.network, source.fed)
    _warn_of_wide_share(source, share)
    node_map = tflite_node_map(made, source.network.graph, source.original, source.absorbed)
    files = {
        f"{source.name}{TFLITE}": made.content,
        f"{source.name}{SIMULATION}": made.simulation.graph_def().SerializeToString(deterministic=True),
        f"{source.name}{TFLITE_NODE_MAP}": node_map.encode(),
    }
    return Exported(files, _notes(source, made, share, list(files)), made.simulation, made.scores())


def _made(source: Exportable, batch: _Batch | None) -> tuple[LiteFile, _Sample | None]:
    """The file, and the sample of calibration data that it was tried with, if there are data."""

    def hinted(error: ModelError) -> ModelError:
        return with_tried_shape_hint(error, source.network, source.tflite, batch, source.one_a_run)

    lite = source.lite
    if isinstance(lite, ModelError):
        raise hinted(lite)
    if isinstance(lite, CalibrantError):
        raise lite
    if lite is None:
        raise ValueError("a LiteRT file is made of a float one")
    is_chosen = source.tflite.batch is not None or bool(source.tflite.shape)
    if source.one_a_run and not is_chosen and samples_a_run(lite.file, source.original) is not None:
        problem = "the converter takes the model with one value along the first axis only, which is no sample"
        raise hinted(ModelError(Problem(problem, file=source.original.source)))
    try:
        return _made_of(source, lite, batch)
    except ModelError as error:
        if source.one_a_run:
            raise hinted(error) from None
        graph = source.network.graph
        is_of_sizes = isinstance(error, (OtherNumbersError, TrialError))
        if not is_of_sizes and all(graph.shape(tensor) is not None for tensor in graph.inputs):
            raise
        for count in _sample_counts(graph, error, batch):
            fixed = of_samples(source.network, source.tflite, count)
            if fixed is None:
                continue
            with suppress(ModelError):
                return _made_of(source, fixed, batch)
        if isinstance(error, OtherNumbersError):
            raise
        raise hinted(error) from None


def _sample_counts(graph: Graph, error: ModelError, batch: _Batch | None) -> Iterator[int]:
    """Numbers of samples a run to try instead of any: one, and where a run failed, those that calibrated at once."""
    yield 1
    if batch is None or not isinstance(error, TrialError):
        return
    keys = [graph.input_keys[at] for at in inputs_with_samples(graph)]
    counts = {len(values) for values in (np.asarray(batch[key]) for key in keys) if values.ndim}
    if len(counts) == 1:
        yield from counts - {1, SAMPLES}


def _made_of(source: Exportable, lite: FloatFile, batch: _Batch | None) -> tuple[LiteFile, _Sample | None]:
    """The same of a float file: with the first samples.

    With later ones where numbers in these are nearly equal, with the whole batch where they point at other rows.
    """

    def made_with(sample: _Sample | None) -> tuple[LiteFile, _Sample | None]:
        tried = made_up(source.network, lite.file) if sample is None else sample
        return lite_file(source.network, lite, source.tflite, tried, source.about()), sample

    graph = source.network.graph
    first = None if batch is None else from_batch(graph, batch, lite.file, source.one_a_run)
    try:
        return made_with(first)
    except OtherNumbersError:
        if first is None or source.batches is None:
            raise
        later = later_samples(graph, source.batches, lite.file, source.one_a_run)
        sample = sample_without_ties(lite, graph, first, later)
        if sample is None:
            raise
        LOG.warning(
            "%s: rounding decides between numbers that are nearly equal in its first calibration sample, so its "
            "LiteRT file is checked with another one",
            graph.source,
        )
        return made_with(sample)
    except TrialError as error:
        if source.one_a_run or batch is None or not has_numbers_of_rows(graph, batch):
            raise
        whole = from_batch(graph, batch, lite.file, whole=True)
        if whole is None:
            shapes = {key: batch[key].shape for key in graph.input_keys if batch[key].ndim}
            raise TrialError(error.reason, graph.source, _all_rows_hint(shapes)) from None
        return made_with(whole)


def _all_rows_hint(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The sizes of a batch, which has all rows that it names, for a file of fixed sizes that does not run."""
    rows = {shape[0] for shape in shapes.values()}
    each = (f"--tflite-shape {key}={','.join(map(str, shape))}" for key, shape in shapes.items())
    sizes = f"--tflite-batch {rows.pop()}" if len(rows) == 1 else " ".join(each)
    return f"if an input has numbers of rows, a run needs all that they name: {sizes}"


def _warn_of_far_outputs(source: Exportable, made: LiteFile, sample: _Sample) -> None:
    everywhere = source.tflite.ops == "all"
    cause = ", as tensors between layers have 8 bits too" if everywhere else ""
    helps = ["--tflite-ops layers keeps them in float"] if everywhere else []
    helps += ["quantize --refine those that cost most"] if source.can_refine else []
    hint = f"; {', '.join(helps)}" if helps else ""
    for at, ratio in far_outputs(source.original, source.fakequant, sample, made.outputs).items():
        how = f"has {ratio:.1f} dB SQNR beside" if math.isfinite(ratio) else "has nothing in common with"
        file, output = source.name + TFLITE, source.original.output_keys[at]
        LOG.warning("%s: output %s %s the fake-quantized model on one batch%s%s", file, output, how, cause, hint)


def _warn_of_wide_share(source: Exportable, share: Mapping[str, Any]) -> None:
    wide = share["wide_multiply_accumulates"] / max(share["multiply_accumulates"], 1)
    if source.budget is not None and wide > source.budget:
        LOG.warning(
            "%s: %.1f %% of the multiply-accumulates have activations of 16 bits, the budget is %.1f %%: a "
            "layer that makes what is read with 16 bits computes with 16 bits too; a smaller budget may need fewer of "
            "them, and without --budget there are none",
            *(source.name + TFLITE, 100 * wide, 100 * source.budget),
        )


def _notes(source: Exportable, made: LiteFile, share: Mapping[str, Any], files: list[str]) -> dict[str, Any]:
    return {
        "files": files,
        "io": source.tflite.io,
        "batch": source.tflite.batch,
        "samples_a_run": None if source.one_a_run else samples_a_run(made.file, source.original),
        "ops": source.tflite.ops,
        "dense_per_channel": source.tflite.dense_per_channel,
        "weight_codes": [-127, 127],
        "simulation_outputs": list(made.simulation.outputs),
        "tensors_observed_between_layers": len(source.network.intermediate),
        "operators_on_integers": len(made.plan.integer),
        "layers_with_16_bits": made.wide(),
        "operators_in_float": made.floats(),
        "on_integers": share,
    }
