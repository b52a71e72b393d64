"""Compare the files of one result on the same inputs.

Outputs are compared before a final Softmax, in steps of the LiteRT file's output. A file of integer kernels rounds
between layers as well, so it is compared with the fake-quantized model that does the same (``NAME_int8_fakequant.pb``);
how far both are from ``NAME_fakequant.pb`` is shown too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.data.option_types import ACCEPTED, Rows
from calibrant.errors import ConfigError, DataError, Problem
from calibrant.evaluation.comparison import Comparison
from calibrant.evaluation.comparison_points import compared_outputs, is_text
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.label_meaning import LabelMeaning
from calibrant.evaluation.labels import labels_by_output, output_place
from calibrant.evaluation.labels_per_sample import check_number, refuse_shuffled, warn_of_unused
from calibrant.evaluation.result_folder import FLOAT, open_models
from calibrant.evaluation.verification import Limits, Verification
from calibrant.graph.graph import Graph
from calibrant.graph.logits import is_sigmoid, softmax_input
from calibrant.json_text import read_json
from calibrant.options import TO_READ, ModelOptions, OptionGroup, Options, takes_keywords
from calibrant.progress import ProgressFn, no_progress
from calibrant.report.option_words import ABOUT_MODEL

TYPES: Rows = {**ACCEPTED, "Limits": (lambda value: isinstance(value, Limits), "Limits")}


@takes_keywords(*TO_READ, rows=TYPES)
def verify(
    folder: str | Path,
    data: Any,
    labels: Any = None,
    *options: OptionGroup,
    model: Any = None,
    output: str | None = None,
    ignore_labels: Sequence[int] = (),
    label_offset: int = 0,
    limits: Limits | None = None,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> Verification:
    """Run the models of a result folder side by side.

    Parameters
    ----------
    folder : str | Path
        What :func:`calibrant.quantize` has written.
    data : Any
        Inputs, as for :func:`calibrant.evaluate`.
    labels : Any
        Class numbers, of samples or positions, or 0 and 1 at each position, for the accuracy of each model; or a
        mapping from the name of an output to them.
    *options : OptionGroup
        :class:`calibrant.DataOptions`; with a float model, also its :class:`calibrant.ModelOptions`.
    model : Any
        The float model; left out without one.
    output : str | None
        As for :func:`calibrant.evaluate`.
    ignore_labels : Sequence[int]
        As for :func:`calibrant.evaluate`.
    label_offset : int
        As for :func:`calibrant.evaluate`.
    limits : Limits | None
        How much the models may differ; by default as :class:`calibrant.Limits` says.
    track : ProgressFn
        As for :func:`calibrant.quantize`.
    **keywords : Any
        Fields of the options.

    Returns
    -------
    Verification
        What the comparison shows; ``passed`` is false where a difference exceeds the limits.

    Raises
    ------
    CalibrantError
        Nothing to compare, a file that cannot be read, data that do not fit or are shuffled beside labels,
        options of a float model without one.
    """
    chosen = Options.of(TO_READ, options, keywords)
    if labels is not None:
        refuse_shuffled(chosen.data.shuffle)
    if model is None:
        _refuse_unused(chosen.model)
    opened = open_models(Path(folder), model, chosen.model)
    models = opened.known
    reference = next(entry for entry in models.values() if isinstance(entry, Graph))
    specs = inputs_of(reference, like=opened.fake)
    batches = open_data(data, specs, **chosen.data.keywords())
    floating = models.get(FLOAT)
    named = floating if isinstance(floating, Graph) else reference
    labelled, truth = _labels_of_one(labels_by_output(labels, named, output), named, output)
    fixed = {None if batches.one_a_run else spec.fixed_batch for spec in specs}
    if truth is not None and batches.samples is not None and len(fixed) == 1:
        check_number(truth, batches.samples, *fixed)
    if truth is None:
        warn_of_unused(ignore_labels, label_offset)
    if truth is None and output is not None:
        output_place(named, output)  # raises where there is none of that name
    place = 0 if truth is None else _compared_place(named, labelled)
    tensor = named.outputs[labelled]
    meaning = LabelMeaning(
        is_sigmoid(named, tensor), softmax_input(named, tensor) is not None, ignore_labels, label_offset
    )
    comparison = Comparison(opened, truth, meaning, place, batches.one_a_run)
    try:
        for batch in track(batches, "verifying", batches.count):
            comparison.update({index: np.asarray(batch[key]) for index, key in enumerate(reference.input_keys)})
        comparison.finish()
    finally:
        comparison.close()
    if truth is not None:
        check_number(truth, comparison.done, max(filter(None, fixed), default=None))
    return comparison.result(limits or Limits(), rounded_scales=_has_float16_scales(Path(folder)))


def _labels_of_one(
    truths: Mapping[int, GivenLabels], graph: Graph, output: str | None
) -> tuple[int, GivenLabels | None]:
    """The position of the output that is judged, and its labels."""
    if not truths:
        return 0, None
    chosen = truths if output is None else {output_place(graph, output)} & truths.keys()
    if len(chosen) != 1:
        found = ", ".join(repr(graph.output_keys[place]) for place in truths)
        message = f"the labels belong to {found}" + (f", not to {output!r}" if output is not None else "")
        hint = "choose one of them with --output NAME (output=)"
        raise DataError(Problem(message, allowed="labels of one output", hint=hint))
    (place,) = chosen
    return place, truths[place]


def _refuse_unused(options: ModelOptions) -> None:
    """Without the float model there is none to read with these."""
    given = [name for name in ABOUT_MODEL if getattr(options, name)]
    if given:
        words = ", ".join(f"--{name}" if name != "constants" else "--set (constants)" for name in given)
        message = f"{words}: they say how the float model is read, and there is none"
        raise ConfigError(Problem(message, hint="give the model, --model (model=), or leave them out"))


def _compared_place(graph: Graph, place: int) -> int:
    """Position of an output among those that are compared; it has no strings."""
    if is_text(graph, graph.outputs[place]):
        problem = f"the labels belong to {graph.output_keys[place]!r}, an output of strings"
        raise DataError(Problem(problem, hint="name another with --output NAME (output=)"))
    return compared_outputs(graph).index(place)


def _has_float16_scales(folder: Path) -> bool:
    """Whether FORCE_FP16_QUANT rounded the scales of the fake-quantized model alone: the lowered differs."""
    try:
        written = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and "fakequant_precision_mode" in written
