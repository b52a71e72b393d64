"""The story from top to bottom: a model, a configuration and some data in, a quantized network out.

model ─► load ─► fold ─► plan ─► balance ─► weights ─► observe ─► search ─► (refine) ─► emit ─► report
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibrant.calibration.runner import CalibrationRunner
from calibrant.data.amount import DataUse, used_sentence
from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.folder import check_writable, write_folder
from calibrant.emit.prefix import file_prefix
from calibrant.emit.tflite.settings import TfliteSettings, fixed_shapes
from calibrant.errors import CalibrantError, DataError, Problem
from calibrant.exports import EXPORTS, checked_exports
from calibrant.progress import LOG, ProgressFn, Stopwatch, no_progress
from calibrant.result import Result, result_files
from calibrant.steps.prepare import DataOptions, ModelOptions, Prepared, observed_network, prepare
from calibrant.steps.refine import refined
from calibrant.steps.sensitivity import sensitivities


def quantize(
    model: Any,
    config: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    signature: str | None = None,
    constants: Mapping[str, Any] | None = None,
    bias_correction: bool = True,
    refine: bool = False,
    sensitivity: bool = False,
    samples: int | str | None = None,
    batch_size: int | None = None,
    name: str | None = None,
    export: str | Sequence[str] = (),
    tflite_io: str = "float32",
    tflite_batch: int | None = None,
    tflite_ops: str = "all",
    tflite_shape: Mapping[str, Sequence[int]] | None = None,
    workers: int = 1,
    threads: int = 0,
    resume: str | Path | None = None,
    track: ProgressFn = no_progress,
    **data_options: Any,
) -> Result:
    """Quantize a trained TensorFlow model to INT8.

    Parameters
    ----------
    model : Any
        Path of a frozen graph, SavedModel or Keras file, or one of these in memory; see
        :func:`calibrant.graph.load.load`.
    config : Any
        Path of a configuration file, its text, a ``Configuration``, or None for the defaults.
    data : Any
        Calibration data: a path, arrays, or an iterable of batches; see :func:`calibrant.data.open_data.open_data`.
    out : str | Path | None
        Folder for the results; nothing is written without one.
    inputs, outputs : Sequence[str] | None
        Tensors where the graph is fed and read; ``inputs`` may be inner tensors.
    signature : str | None
        Of a SavedModel.
    constants : Mapping[str, Any] | None
        Placeholder → the value that it is bound to; see :func:`calibrant.graph.load.load`.
    bias_correction : bool
        Shift biases so that the means of the layers' outputs are those of the float network; the ranges then come from
        the folded float network, otherwise from the one whose weights are quantized.
    refine : bool
        Move the ranges of the activations from where the plain search puts them to where the network's outputs suffer
        least; reads the data again, a dozen times, see :mod:`calibrant.steps.refine`.
    sensitivity : bool
        Measure what each layer alone costs, for the report; reads the data once more.
    samples : int | str | None
        How many of the data calibrate, in whole batches; ``'all'`` for all. By default ``batch_num`` batches of a
        configuration (1 where it is silent), and the first 64 samples without one.
    batch_size : int | None
        Samples a batch, where the data are not batches already; 16, or the model's own, by default.
    name : str | None
        How the files are called: ``NAME_fakequant.pb`` …; the model file's name by default.
    export : str | Sequence[str]
        Further formats to write, of :data:`calibrant.exports.EXPORTS`: ``("tflite",)`` or ``"tflite"``.
    tflite_io : str
        ``'float32'`` or ``'int8'``: inputs and outputs of the ``.tflite`` file.
    tflite_batch : int | None
        Its fixed number of samples a run; the model's own, which may be open, by default.
    tflite_ops : str
        ``'all'``: every operator of it that has an integer kernel runs on integers; ``'layers'``: the quantized layers,
        and what is between them.
    tflite_shape : Mapping[str, Sequence[int]] | None
        Its fixed shapes, by input name, where the model leaves sizes open.
    workers : int
        Processes that the batches are spread over; the result is the same.
    threads : int
        That compute in each of them; 0: one a processor, or a share of the processors with several workers.
    resume : str | Path | None
        File that keeps what has been observed so far. A run that was interrupted goes on from there when it is started
        again with the same model, configuration and data.
    track : ProgressFn
        Shows progress; see :mod:`calibrant.progress`.
    data_options : Any
        ``shapes``, ``dtypes``, ``image_options``, ``image_size``, ``shuffle`` for data that need them.

    Returns
    -------
    Result
        The fake-quantized graph, the factors of every layer and the report.

    Raises
    ------
    CalibrantError
        With every problem that was found; nothing has been written then.

    Examples
    --------
    >>> result = quantize("digits.pb", config="quant.cfg", data="calibration.npz", out="out")  # doctest: +SKIP
    """
    watch, runner = Stopwatch(), CalibrationRunner(workers, threads)
    tflite = TfliteSettings(tflite_io, tflite_batch, tflite_ops, fixed_shapes(tflite_shape))
    output = ExportOptions(out, name, export, tflite, model)
    options = ModelOptions(inputs, outputs, signature, constants, bias_correction, output.formats, tflite)
    calibration = DataOptions(data, batch_size, data_options, samples)
    _check_readable_again(not isinstance(data, Iterator), refine, sensitivity)  # before the first item is read
    prepared, batches = prepare(model, config, options, calibration, watch, track, runner)
    again = SecondPass(batches, refine, sensitivity)
    with watch.step("calibrate"):
        runner.observe(
            prepared.observed, prepared.statistics, batches, track, state=None if resume is None else Path(resume)
        )
    use = DataUse.of(batches)
    if batches.samples is None:
        LOG.info(used_sentence(use.samples, use.available, batches.place))
    prepared = replace(prepared, plan=replace(prepared.plan, batch_num=use.batches))
    used = {
        "bias_correction": bias_correction,
        "refine": refine,
        "sensitivity": sensitivity,
        "export": list(output.formats),
        "workers": workers,
        "threads": threads,
    }
    return build_result(prepared, output, watch, again, track, use, used)


class ExportOptions:
    """What is to be written, and where; parameters as of :func:`quantize`.

    Raises
    ------
    OutputError, ConfigError
        For what cannot be written, before any work is done.
    """

    def __init__(
        self,
        out: str | Path | None,
        name: str | None,
        export: str | Sequence[str],
        tflite: TfliteSettings,
        model: Any,
    ):
        self.name = file_prefix(name, model)
        self.formats = checked_exports(export)
        self.tflite = tflite
        self.folder = None if out is None else Path(out)
        if self.folder is not None:
            check_writable(self.folder)


@dataclass(frozen=True)
class SecondPass:
    """Data to read again, and what for; as of :func:`quantize`.

    Raises
    ------
    DataError
        Data that cannot be read again.
    """

    batches: Batches
    refine: bool = False
    sensitivity: bool = False

    def __post_init__(self) -> None:
        _check_readable_again(self.batches.restartable, self.refine, self.sensitivity)


def _check_readable_again(restartable: bool, refine: bool, sensitivity: bool) -> None:
    wanted = "refining" if refine else "the sensitivity" if sensitivity else None
    if wanted and not restartable:
        message = f"the data can be read only once, but {wanted} needs them again"
        raise DataError(Problem(message, hint="give files or arrays"))


def build_result(
    prepared: Prepared,
    output: ExportOptions,
    watch: Stopwatch,
    again: SecondPass | None = None,
    track: ProgressFn = no_progress,
    data: DataUse | None = None,
    options: Mapping[str, Any] | None = None,
) -> Result:
    """The second half: search, refine, emit, report, write."""
    with watch.step("search"):
        network = observed_network(prepared)
    if again is not None and again.refine:
        with watch.step("refine"):
            network = refined(prepared, network, again.batches, track)
    with watch.step("emit"):
        fakequant = fake_quantized(network)
    ranking = None
    if again is not None and again.sensitivity:
        with watch.step("sensitivity"):
            ranking = sensitivities(network, again.batches, track)
    result = Result(
        name=output.name,
        original=prepared.original,
        folded=prepared.folded,
        plan=prepared.plan,
        network=network,
        fakequant=fakequant,
        seconds=watch.seconds,
        tflite=output.tflite,
        lite=prepared.lite,
        batches=again.batches if again is not None and again.batches.restartable else None,
        sensitivity=ranking,
        data=data,
        options=options or {},
    )
    for form in output.formats:
        with watch.step(form):
            try:
                result.exported.update(EXPORTS[form](result))
            except CalibrantError as error:
                if output.folder is None and len(output.formats) == 1:
                    raise
                result.refused[form] = error
                LOG.warning("the export %s is left out: %s", form, error)
    if output.folder is not None:
        with watch.step("write"):
            result.files = write_folder(output.folder, result_files(result))
        LOG.debug("written: %s", ", ".join(map(str, result.files)))
    return result
