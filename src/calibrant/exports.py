"""What a quantized network can be exported as. A new format is a row in ``EXPORTS``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.errors import CalibrantError, ConfigError, ModelError, Problem, did_you_mean
from calibrant.file_endings import ASCEND, NODE_MAP, SAVED_MODEL, SIMULATION, TFLITE, TFLITE_NODE_MAP
from calibrant.progress import LOG
from calibrant.publish.write import Content
from calibrant.version import __version__


def _lite_file(result: Any, float_file: Any, batch: Any) -> tuple[Any, Any]:
    """The file, and the sample of calibration data that it was tried with, if there are data."""
    from calibrant.emit.tflite.model import lite_file
    from calibrant.emit.tflite.sample import from_batch, has_numbers_of_rows, made_up
    from calibrant.emit.tflite.trial import TrialError

    def made_with(sample: Any) -> tuple[Any, Any]:
        tried = made_up(result.network, float_file.file) if sample is None else sample
        return lite_file(result.network, float_file, result.tflite, tried, _about(result)), sample

    graph, one_a_run = result.network.graph, _is_one_a_run(result)
    first = None if batch is None else from_batch(graph, batch, float_file.file, one_a_run)
    try:
        return made_with(first)
    except TrialError as error:
        if one_a_run or batch is None or not has_numbers_of_rows(graph, batch):
            raise
        whole = from_batch(graph, batch, float_file.file, whole=True)
        if whole is None:
            raise _of_too_few_rows(error, graph, batch) from None
        return made_with(whole)


def _of_too_few_rows(error: Any, graph: Any, batch: Any) -> Any:
    """The error of a file of fixed sizes that does not run, with those of a batch, which has all rows it names."""
    shapes = {key: batch[key].shape for key in graph.input_keys if batch[key].ndim}
    rows = {shape[0] for shape in shapes.values()}
    each = (f"--tflite-shape {key}={','.join(map(str, shape))}" for key, shape in shapes.items())
    sizes = f"--tflite-batch {rows.pop()}" if len(rows) == 1 else " ".join(each)
    hint = f"if an input has numbers of rows, a run needs all that they name: {sizes}"
    return type(error)(error.reason, graph.source, hint)


def _is_one_a_run(result: Any) -> bool:
    """Whether each batch of the calibration data is one sample, without an axis of samples."""
    return result.data is not None and result.data.one_a_run


def _tflite(result: Any) -> dict[str, Content]:
    from calibrant.emit.tflite.conversion.name_check import OtherNumbersError
    from calibrant.emit.tflite.conversion.open_sizes import of_one_sample, samples_a_run, with_tried_shape_hint
    from calibrant.emit.tflite.far_outputs import far_outputs
    from calibrant.emit.tflite.file_share import file_share
    from calibrant.emit.tflite.node_map import tflite_node_map
    from calibrant.emit.tflite.trial import TrialError

    batch = None if result.batches is None else next(iter(result.batches))
    one_a_run = _is_one_a_run(result)

    def hinted(error: ModelError) -> ModelError:
        return with_tried_shape_hint(error, result.network, result.tflite, batch, one_a_run)

    if isinstance(result.lite, ModelError):
        raise hinted(result.lite)
    if isinstance(result.lite, CalibrantError):
        raise result.lite
    settings = result.tflite
    is_chosen = settings.batch is not None or bool(settings.shape)
    if one_a_run and not is_chosen and samples_a_run(result.lite.file, result.original) is not None:
        problem = "the converter takes the model with one value along the first axis only, which is no sample"
        raise hinted(ModelError(Problem(problem, file=result.original.source)))
    try:
        made, sample = _lite_file(result, result.lite, batch)
    except ModelError as error:
        if one_a_run:
            raise hinted(error) from None
        graph = result.network.graph
        is_of_sizes = isinstance(error, (OtherNumbersError, TrialError))
        if not is_of_sizes and all(graph.shape(tensor) is not None for tensor in graph.inputs):
            raise
        one = of_one_sample(result.network, result.tflite)
        try:
            if one is None:
                raise
            made, sample = _lite_file(result, one, batch)
        except ModelError:
            if isinstance(error, OtherNumbersError):
                raise error from None
            raise hinted(error) from None
    far = {} if sample is None else far_outputs(result.original, result.fakequant, sample, made.outputs)
    for at, ratio in far.items():
        how = f"has {ratio:.1f} dB SQNR beside" if math.isfinite(ratio) else "has nothing in common with"
        everywhere = result.tflite.ops == "all"
        cause = ", as tensors between layers have 8 bits too" if everywhere else ""
        helps = ["--tflite-ops layers keeps them in float"] if everywhere else []
        helps += ["quantize --refine those that cost most"] if result.options.get("refine") is False else []
        hint = f"; {', '.join(helps)}" if helps else ""
        file, output = result.name + TFLITE, result.original.output_keys[at]
        LOG.warning("%s: output %s %s the fake-quantized model on one batch%s%s", file, output, how, cause, hint)
    share, budget = file_share(made, result.network), result.options.get("budget")
    wide = share["wide_multiply_accumulates"] / max(share["multiply_accumulates"], 1)
    if budget is not None and wide > budget:
        LOG.warning(
            "%s: %.1f %% of the multiply-accumulates have activations of 16 bits, the budget is %.1f %%: a "
            "layer that makes what is read with 16 bits computes with 16 bits too; a smaller budget may need fewer of "
            "them, and without --budget there are none",
            *(result.name + TFLITE, 100 * wide, 100 * budget),
        )
    if result.output_sqnr is not None:
        result.simulation, result.simulated_scores = made.simulation, made.scores()
    node_map = tflite_node_map(made, result.network.graph, result.original, result.absorbed)
    files: dict[str, Content] = {
        f"{result.name}{TFLITE}": made.content,
        f"{result.name}{SIMULATION}": made.simulation.graph_def().SerializeToString(deterministic=True),
        f"{result.name}{TFLITE_NODE_MAP}": node_map.encode(),
    }
    result.export_notes["tflite"] = {
        "files": list(files),
        "io": result.tflite.io,
        "batch": result.tflite.batch,
        "samples_a_run": None if one_a_run else samples_a_run(made.file, result.original),
        "ops": result.tflite.ops,
        "dense_per_channel": result.tflite.dense_per_channel,
        "weight_codes": [-127, 127],
        "simulation_outputs": list(made.simulation.outputs),
        "tensors_observed_between_layers": len(result.network.intermediate),
        "operators_on_integers": len(made.plan.integer),
        "layers_with_16_bits": made.wide(),
        "operators_in_float": made.floats(),
        "on_integers": share,
    }
    return files


def _about(result: Any) -> dict[str, str]:
    return {"calibrant": __version__, **result.signature}


def _ascend(result: Any) -> dict[str, Content]:
    from calibrant.emit.ascend.model import ascend_model
    from calibrant.emit.ascend.node_map import ascend_node_map
    from calibrant.emit.graph_file import graph_file
    from calibrant.emit.large_model import require_one_file

    made = ascend_model(result.network)
    require_one_file(made.graph, f"{result.name}{ASCEND}")
    return {
        f"{result.name}{ASCEND}": graph_file(made.graph),
        f"{result.name}{NODE_MAP}": ascend_node_map(made, result.network, result.original, result.absorbed).encode(),
    }


def _saved_model(result: Any) -> dict[str, Content]:
    from calibrant.emit.large_model import is_too_large, large_model_writer
    from calibrant.emit.saved_model import saved_model_writer

    writer = large_model_writer if is_too_large(result.fakequant) else saved_model_writer
    return {f"{result.name}{SAVED_MODEL}": writer(result.fakequant)}


@dataclass(frozen=True)
class Export:
    """A format.

    Parameters
    ----------
    endings : tuple[str, ...]
        What follows the prefix in the names of its files and folders.
    files : Callable[[Any], dict[str, Content]]
        From a :class:`calibrant.result.Result` to file name → bytes, or → a function that writes the file or folder at
        a path.
    """

    endings: tuple[str, ...]
    files: Callable[[Any], dict[str, Content]]


EXPORTS = {
    "tflite": Export((TFLITE, SIMULATION, TFLITE_NODE_MAP), _tflite),
    "ascend": Export((ASCEND, NODE_MAP), _ascend),
    "saved_model": Export((SAVED_MODEL,), _saved_model),
}
"""Name of a format → what it writes."""


def checked_exports(names: str | Sequence[str]) -> tuple[str, ...]:
    """The formats asked for, each once; one may be given as ``"a,b"``.

    Raises
    ------
    ConfigError
        A format that does not exist, with the nearest one.
    """
    names = [names] if isinstance(names, str) else names
    chosen = dict.fromkeys(word.strip() for name in names for word in name.split(",") if word.strip())
    unknown = [
        Problem(f"export format {name!r} is not known", allowed=", ".join(EXPORTS), hint=did_you_mean(name, EXPORTS))
        for name in chosen
        if name not in EXPORTS
    ]
    if unknown:
        raise ConfigError(*unknown)
    return tuple(chosen)
