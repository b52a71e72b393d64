"""The story from top to bottom: a model, a configuration and some data in, a quantized network out.

model ─► load ─► fold ─► plan ─► balance ─► weights ─► observe ─► search ─► emit ─► report
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration.data import InputSpec, open_data
from calibrant.calibration.observe import observe
from calibrant.config import load_config
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.folder import check_writable, write_folder
from calibrant.emit.prefix import file_prefix
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.exports import EXPORTS, checked_exports
from calibrant.factors import QuantizedLayer, QuantizedNetwork
from calibrant.fold import fold
from calibrant.graph.load import load
from calibrant.graph.run import input_shapes
from calibrant.progress import Track, untracked
from calibrant.result import Result, Stopwatch, result_files
from calibrant.steps.activations import quantized_places, read_tensor, search_all
from calibrant.steps.balance import balance
from calibrant.steps.between import search_between, tensors_between
from calibrant.steps.bias_correction import bias_corrections, by_tensor, patch_statistics, with_biases
from calibrant.steps.facts import graph_facts
from calibrant.steps.joint import joint_groups, with_joint_places
from calibrant.steps.narrow import holdable_weights
from calibrant.steps.plan import make_plan
from calibrant.steps.representable import with_representable_scales
from calibrant.steps.sensitivity import sensitivities
from calibrant.steps.weights import bias_of, quantize_all_weights, with_quantized_weights


def quantize(
    model: Any,
    config: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    signature: str | None = None,
    bias_correction: bool = True,
    sensitivity: bool = False,
    batch_size: int | None = None,
    name: str | None = None,
    export: str | Sequence[str] = (),
    tflite_io: str = "float32",
    tflite_batch: int | None = None,
    track: Track = untracked,
    **data_options: Any,
) -> Result:
    """Quantize a trained TensorFlow model to INT8.

    Parameters
    ----------
    model : path of a frozen graph, SavedModel or Keras file, or one of these in memory; see
        :func:`calibrant.graph.load.load`.
    config : path of a configuration file, its text, a ``Configuration``, or None for the defaults.
    data : calibration data: a path, arrays, or an iterable of batches; see
        :func:`calibrant.calibration.data.open_data`.
    out : folder for the results; nothing is written without one.
    inputs, outputs : tensors where the graph is fed and read; ``inputs`` may be inner tensors.
    signature : of a SavedModel.
    bias_correction : shift biases so that the means of the layers' outputs are those of the float network; the ranges
        then come from the folded float network, otherwise from the one whose weights are quantized.
    sensitivity : measure what each layer alone costs, for the report; reads the data once more.
    batch_size : samples a batch, where the data are not batches already; 16, or the model's own, by default.
    name : how the files are called: ``NAME_fakequant.pb`` …; the model file's name by default.
    export : further formats to write, of :data:`calibrant.exports.EXPORTS`: ``("tflite",)`` or ``"tflite"``.
    tflite_io : ``'float32'`` or ``'int8'``: inputs and outputs of the ``.tflite`` file.
    tflite_batch : its fixed number of samples a run; the model's own, which may be open, by default.
    track : shows progress; see :mod:`calibrant.progress`.
    data_options : ``shapes``, ``dtypes``, ``image_options`` for data that need them.

    Returns
    -------
    Result with the fake-quantized graph, the factors of every layer and the report.

    Raises
    ------
    CalibrantError : with every problem that was found; nothing has been written then.

    Examples
    --------
    >>> result = quantize("digits.pb", config="quant.cfg", data="calibration.npz", out="out")  # doctest: +SKIP
    """
    watch = Stopwatch()
    prefix = file_prefix(name, model)
    formats = checked_exports(export)
    tflite = TfliteSettings(tflite_io, tflite_batch)
    if out is not None:
        check_writable(Path(out))
    configuration = load_config(config)
    with watch.step("load"):
        original = load(model, inputs, outputs, signature)
    with watch.step("fold"):
        folded = fold(original, configuration.do_fusion is not False, configuration.skip_fusion_layers)
        facts, layers = graph_facts(original, folded.graph)
    plan = make_plan(configuration, facts, folded.graph)
    specifications = [InputSpec(key, *rest) for key, rest in input_shapes(original).items()]
    batches = open_data(data, specifications, batch_size=batch_size, batch_num=plan.batch_num, **data_options)
    with watch.step("balance"):
        balanced = balance(folded.graph, layers, plan, batches, track)
        graph, layers = balanced.graph, balanced.layers
    if bias_correction:
        graph, layers = with_biases(graph, layers, [entry.name for entry in plan.layers])
    with watch.step("weights"):
        weights = holdable_weights(quantize_all_weights(graph, layers, plan.layers), formats)
    places = quantized_places(graph, layers, plan)
    groups = joint_groups(graph, layers, places, configuration.skip_layers) if plan.joint_quant else ()
    places = with_joint_places(places, groups)
    with watch.step("calibrate"):
        observed = graph if bias_correction else with_quantized_weights(graph, layers, weights)
        between = tensors_between(graph, [layers[entry.name] for entry in plan.layers], places, formats)
        histograms = {tensor: Histogram() for tensor in (*(read_tensor(graph, place) for place in places), *between)}
        patches = patch_statistics(graph, layers, weights) if bias_correction else {}
        observe(observed, by_tensor(histograms, patches), batches, track)
        corrections = bias_corrections(graph, layers, weights, patches) if bias_correction else {}
    with watch.step("search"):
        found = search_all(graph, places, histograms, groups)
    network = QuantizedNetwork(
        graph=graph,
        layers=tuple(
            QuantizedLayer(
                layer=layers[entry.name],
                inputs=tuple(found[entry.name, index] for index in layers[entry.name].data_inputs),
                weights=weights[entry.name].quantized if entry.name in weights else None,
                float_weights=weights[entry.name].float_values if entry.name in weights else None,
                bias=bias_of(graph, layers[entry.name], corrections.get(entry.name)),
                bias_correction=corrections.get(entry.name),
                balance=balanced.factors.get(entry.name),
            )
            for entry in plan.layers
        ),
        tensors=tuple(found[place] for place in places if place[0] not in layers),
        force_float16_scale=plan.force_float16_scale,
        between=search_between(histograms, between, plan.activation_offset),
        output_tensors=folded.graph.outputs,
    )
    network = with_representable_scales(network)
    with watch.step("emit"):
        fakequant = fake_quantized(network)
    ranking = None
    if sensitivity:
        with watch.step("sensitivity"):
            ranking = sensitivities(network, batches, track)
    result = Result(
        name=prefix,
        original=original,
        folded=folded,
        plan=plan,
        network=network,
        fakequant=fakequant,
        seconds=watch.seconds,
        tflite=tflite,
        sensitivity=ranking,
    )
    for form in formats:
        with watch.step(form):
            result.exported.update(EXPORTS[form](result))
    if out is not None:
        with watch.step("write"):
            result.files = write_folder(Path(out), result_files(result))
    return result
