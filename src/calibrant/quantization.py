"""The story from top to bottom: a model, a configuration and some data in, a quantized network out.

model ─► load ─► fold ─► plan ─► (equalize) ─► balance ─► weights ─► observe ─► search ─► (refine) ─► emit ─► report
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import ActivationPlan
from calibrant.data.amount import DataUse, used_sentence
from calibrant.data.option_types import plain_number
from calibrant.destination import Destination
from calibrant.emit.exportable import Exportable
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.errors import CalibrantError
from calibrant.exports import EXPORTS
from calibrant.graph.logits import can_be_compared, compared_tensors
from calibrant.graph.node_input import NodeInput
from calibrant.options import TO_QUANTIZE, ExportOptions, OptionGroup, Options, takes_keywords
from calibrant.progress import LOG, ProgressFn, Stopwatch, no_progress
from calibrant.publish.writable import check_writable_file, path_to_write
from calibrant.publish.write import write_folder
from calibrant.quantized_network import QuantizedInput
from calibrant.report.given_options import run_options
from calibrant.result import Pictured, Result, result_files, result_names
from calibrant.steps.balancing.channels import Channels, choose_channels
from calibrant.steps.files_read import files_read
from calibrant.steps.foreign_folders import refuse_foreign_folders
from calibrant.steps.measured import Measured, file_sqnr, measured
from calibrant.steps.observed import Calibrated, search_parameters
from calibrant.steps.prepare import channels_are_open, is_configured, plan_with_data, prepare
from calibrant.steps.prepared import weighted_places
from calibrant.steps.ranges.activations import search_all
from calibrant.steps.ranges.intermediate_tensors import CONVERTING, float_lite_file
from calibrant.steps.ranges.unseen import seen_places
from calibrant.steps.refining.budget import with_16_bits
from calibrant.steps.refining.decided import with_budget, with_refinement
from calibrant.steps.refining.refine import units_of
from calibrant.steps.refining.room import with_room
from calibrant.steps.refining.sensitivity import sensitivities
from calibrant.steps.refining.whole_errors import WholeErrors
from calibrant.steps.second_pass import SecondPass, check_readable_again, left_out_if
from calibrant.version import __version__

COMPARING = "comparing the outputs with the float network's"


@takes_keywords(*TO_QUANTIZE)
def quantize(
    model: Any,
    config: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    *options: OptionGroup,
    refine: bool | None = False,
    sensitivity: bool = False,
    resume: str | Path | None = None,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> Result:
    """Quantize a trained TensorFlow model to INT8.

    Parameters
    ----------
    model : Any
        Path of a frozen graph, SavedModel, Keras file or TensorFlow 1.x checkpoint, or a model in memory; see
        :func:`calibrant.graph.reading.load.load`.
    config : Any
        Path of a configuration file, its text, a ``Configuration``, or None for the defaults.
    data : Any
        Calibration data: a path, arrays, or an iterable of batches; see :func:`calibrant.data.open_data.open_data`.
    out : str | Path | None
        Folder for the results. Nothing is written without one, and nothing measured for the report: its ``verdict``,
        ``findings`` and the error of the outputs are left out.
    *options : OptionGroup
        :class:`calibrant.ModelOptions`, :class:`calibrant.DataOptions`, :class:`calibrant.CalibrationOptions` and
        :class:`calibrant.ExportOptions`, each at most once and in any order.
    refine : bool | None
        Move the ranges of the activations from where the plain search puts them to where the network's outputs suffer
        least, see :mod:`calibrant.steps.refining.refine`; before, decide what is done to the channels, unless
        ``equalize`` or the configuration does, see :mod:`calibrant.steps.balancing.channels`. Reads the first samples
        of the data again. None, as on the command line: where the configuration does not say how ranges are chosen, and
        that takes some ten plain passes over these samples.
    sensitivity : bool
        Measure what each layer alone costs, for the report; reads the data once more.
    resume : str | Path | None
        File that keeps what has been observed so far. A run that was interrupted goes on from there when it is started
        again with the same model, configuration and data.
    track : ProgressFn
        Shows progress: called with an iterable, a text and the number of its items, it gives the items one by one.
    **keywords : Any
        Fields of the groups above: ``samples="all"`` is ``CalibrationOptions(samples="all")``. A keyword takes
        precedence over the field of a group.

    Returns
    -------
    Result
        The fake-quantized graph, scale and offset of every layer, and the report.

    Raises
    ------
    CalibrantError
        With every problem that was found; nothing has been written then.

    Examples
    --------
    >>> result = quantize("digits.pb", config="quant.cfg", data="calibration.npz", out="out")  # doctest: +SKIP
    >>> files = ExportOptions(export="ascend", name="digits")  # doctest: +SKIP
    >>> result = quantize("digits.pb", "quant.cfg", "calibration.npz", "out", files, samples="all")  # doctest: +SKIP
    """
    refine, sensitivity = plain_number(refine), plain_number(sensitivity)
    chosen = Options.of(TO_QUANTIZE, options, keywords)
    watch, runner = Stopwatch(), CalibrationRunner(chosen.calibration.workers, chosen.calibration.threads)
    budget = chosen.calibration.budget
    read = files_read(model, config, data)
    output = Destination.of(out, chosen.export, model, read, budget is not None)
    state_file = None if resume is None else path_to_write(resume, "state file to resume")
    if state_file is not None:
        check_writable_file(state_file, read)
        output.refuse_state(state_file)
    # Before the first item is read.
    check_readable_again(not isinstance(data, Iterator), bool(refine), sensitivity, budget)
    planned, batches = plan_with_data(model, config, data, chosen, watch)
    by_default = refine is None
    if refine is None:
        refine = batches.restartable and can_be_compared(planned.folded.graph)
    again = SecondPass(batches, refine, sensitivity, budget, by_default, chosen.calibration.round_weights, runner)
    if again.compares_outputs:
        compared_tensors(planned.folded.graph)  # raises where there are none, before anything is observed
    half: dict[tuple[NodeInput, ActivationPlan], QuantizedInput] = {}

    def calibrated(channels: Channels, state: Path | None = None) -> Calibrated:
        prepared = prepare(channels, batches, chosen, watch, track, runner)
        half.clear()

        def search_half() -> None:
            seen = seen_places(prepared.graph, prepared.places, prepared.histograms)
            wide = {place: seen[place] for place in weighted_places(seen, prepared.layers)} if budget else {}
            for places in (seen, {place: with_16_bits(settings) for place, settings in wide.items()}):
                entries = search_all(prepared.graph, places, prepared.histograms, prepared.plan.groups)
                half.update({(place, places[place]): entry for place, entry in entries.items()})

        with watch.step("calibrate"):
            runner.observe(
                prepared.observed,
                prepared.with_outputs,
                batches,
                track,
                state=state,
                midway=search_half if output.folder is not None and chosen.export.page else None,
            )
        return search_parameters(prepared, watch, dict(half))

    plain = Channels(planned, bool(chosen.calibration.equalize))
    found = calibrated(plain, state_file)
    whole = WholeErrors(found.network, batches, units_of(found.network, found.prepared))
    use = DataUse.of(batches)
    if batches.samples is None:
        LOG.info(used_sentence(use.samples, use.available, batches.place))
    if refine and channels_are_open(planned, chosen) and not (by_default and is_configured(planned)):
        channels = plain
        with watch.step("channels"), left_out_if(by_default):
            channels = choose_channels(plain, found.network, whole, chosen, track)
        if channels is not plain:
            found = calibrated(channels)
    prepared = replace(found.prepared, plan=replace(found.prepared.plan, batch_num=use.batches))
    said = "default" if by_default else refine
    used = run_options(chosen, refine=said, equalize=prepared.equalized, sensitivity=sensitivity)
    return build_result(replace(found, prepared=prepared), chosen.export, output, watch, again, whole, track, use, used)


def build_result(
    found: Calibrated,
    export: ExportOptions,
    output: Destination,
    watch: Stopwatch,
    again: SecondPass | None = None,
    whole: WholeErrors | None = None,
    track: ProgressFn = no_progress,
    data: DataUse | None = None,
    options: Mapping[str, Any] | None = None,
) -> Result:
    """The second half: refine, emit, report, write."""
    configuration = None
    if again is not None and again.budget is not None:
        found, configuration = with_budget(found, again, again.budget, export.tflite, watch, track)
    if again is not None and again.refine and whole is not None:
        found = with_refinement(found, again, whole, export.tflite, watch, track)
    prepared, original = found.prepared, found.prepared.original
    network = with_room(prepared, found.network)
    lite = prepared.lite
    if isinstance(lite, FloatFile) and prepared.products:
        with watch.step("convert", CONVERTING):  # once more, with the weights that were rounded since
            chosen = prepared.planned_layers
            lite = float_lite_file(prepared.graph, chosen, tuple(prepared.places), export.tflite)
    with watch.step("emit"):
        fakequant = fake_quantized(network)
    restartable = again.batches if again is not None and again.batches.restartable else None
    measures = Measured(None, None)
    if output.folder is not None and restartable is not None:
        with watch.step("measure", COMPARING):
            measures = measured(network, prepared.folded.graph, original.output_keys, restartable, export.page)
    ranking = None
    if again is not None and again.sensitivity:
        with watch.step("sensitivity"):
            ranking = sensitivities(network, again.batches, track)
    pictured = None
    if output.folder is not None and export.page:
        with watch.step("page"):
            pictured = Pictured.of(network, prepared.histograms, measures.growth, found.moves)
    result = Result(
        name=output.prefix,
        original=original,
        folded=prepared.folded,
        plan=prepared.plan,
        network=network,
        fakequant=fakequant,
        seconds=watch.seconds,
        tflite=export.tflite,
        lite=lite,
        batches=restartable,
        sensitivity=ranking,
        output_sqnr=measures.outputs,
        pictured=pictured,
        data=data if data is None or again is None else data.read_again(again.batches),
        options=options or {},
        unrefined=found.unrefined,
        configuration=configuration,
    )
    _add_exports(result, export.formats, output.folder is None and len(export.formats) == 1, watch)
    if output.folder is not None:
        with watch.step("write"):
            files = result_files(result)
            refuse_foreign_folders(output.folder / name for name in files)
            result.files = write_folder(output.folder, files)
        LOG.debug("written: %s", ", ".join(map(str, result.files)))
        _note_older_files(output.folder, output.prefix, result.files)
    return result


def _add_exports(result: Result, formats: Collection[str], must: bool, watch: Stopwatch) -> None:
    """Export to each format and note which are refused; with ``must``, an error is raised instead."""
    source, reference, keys = _exportable(result), result.folded.graph, result.original.output_keys
    for form in formats:
        with watch.step(form, f"making the files for {form}"):
            try:
                made = EXPORTS[form].made(source)
            except CalibrantError as error:
                if must:
                    raise
                result.refused[form] = error
                LOG.warning("the export %s is left out: %s", form, error)
                continue
        result.exported |= made.files
        if made.notes:
            result.export_notes[form] = dict(made.notes)
        if made.simulation is not None and result.output_sqnr is not None and result.batches is not None:
            with watch.step("measure", COMPARING):
                result.file_sqnr = file_sqnr(reference, made.simulation, made.scores, keys, result.batches)


def _exportable(result: Result) -> Exportable:
    return Exportable(
        name=result.name,
        original=result.original,
        network=result.network,
        absorbed=result.absorbed,
        fakequant=result.fakequant,
        about=lambda: {"calibrant": __version__, **result.signature},
        tflite=result.tflite,
        lite=result.lite,
        batches=result.batches,
        fed=None if result.data is None else result.data.fed,
        one_a_run=result.data is not None and result.data.one_a_run,
        can_refine=result.options.get("refine") is False,
        budget=result.options.get("budget"),
    )


def _note_older_files(folder: Path, prefix: str, written: Collection[Path]) -> None:
    """Warn of what an earlier run has written under this name and this one has not."""
    names = {path.name for path in written}
    older = [
        name
        for name in dict.fromkeys(result_names(prefix, EXPORTS, budget=False))
        if name not in names and os.path.lexists(folder / name)
    ]
    if older:
        LOG.warning("not of this run, but of an earlier one: %s in %s", ", ".join(older), folder)
