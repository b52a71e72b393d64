"""What a caller may choose, as a few frozen values.

Every function of the interface takes them as they are, or their fields as keywords.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, TypeVar, cast

from calibrant.calibration.limits import check_threads, check_workers
from calibrant.data.amount import sample_limit
from calibrant.data.option_types import ACCEPTED, Rows, check_arguments, check_types
from calibrant.data.options import DataOptions
from calibrant.emit.prefix import file_prefix
from calibrant.emit.tflite.settings import TfliteSettings, fixed_shapes
from calibrant.errors import ConfigError, DataError, Problem, did_you_mean
from calibrant.exports import checked_exports


@dataclass(frozen=True)
class ModelOptions:
    """How a model is read.

    Parameters
    ----------
    inputs, outputs : str | Sequence[str] | None
        Tensors where the graph is fed and read; ``inputs`` may be inner tensors.
    signature : str | None
        Of a SavedModel.
    constants : Mapping[str, Any] | None
        Placeholder → the value that it is bound to; see :func:`calibrant.graph.reading.load.load`.
    trust_model : bool
        Whether a model file may run Python code, write files or talk to other machines.

    Raises
    ------
    DataError
        A value of a type that is not allowed.
    """

    inputs: str | Sequence[str] | None = None
    outputs: str | Sequence[str] | None = None
    signature: str | None = None
    constants: Mapping[str, Any] | None = None
    trust_model: bool = False

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class CalibrationOptions:
    """How a network is calibrated.

    Parameters
    ----------
    samples : int | str | None
        How many of the data calibrate, in whole batches; ``'all'`` for all. By default ``batch_num`` batches of a
        configuration (1 where it is silent), and the first 64 samples without one.
    bias_correction : bool
        Shift biases so that the means of the layers' outputs are those of the float network; the ranges then come from
        the folded float network, otherwise from the one whose weights are quantized.
    equalize : bool | None
        Equalize the channels between layers first, where that adds no operation; see
        :mod:`calibrant.steps.balancing.equalize`. Reads the data once more. None: where the ranges are refined,
        channels are equalized or balanced if that brings the outputs nearer to the float model's, see
        :mod:`calibrant.steps.balancing.channels`.
    round_weights : bool
        Round the weights so that the outputs of their layers change least, instead of to the nearest codes; the ranges
        then come from the folded float network. Where ranges are refined, layer after layer, see
        :mod:`calibrant.steps.weights.round_in_turn`.
    budget : float | None
        Share, 0...1, of the multiply-accumulates whose activations may have 16 bits: those are chosen that cost the
        outputs most, see :mod:`calibrant.steps.refining.budget`. Reads the data again. None: as the configuration says.
    workers : int
        Processes that the batches are spread over; the model is the same. With several, the report does not say whether
        the data are enough.
    threads : int
        Threads that compute in each of them; 0: one a processor, or a share of the processors with several workers.

    Raises
    ------
    DataError
        A value that is not allowed.
    ConfigError
        A budget below 0 or above 1.
    """

    samples: int | str | None = None
    bias_correction: bool = True
    equalize: bool | None = None
    round_weights: bool = False
    budget: float | None = None
    workers: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        sample_limit(self.samples)
        check_workers(self.workers)
        check_threads(self.threads)
        if self.budget is not None and not 0 <= self.budget <= 1:
            hint = f"{self.budget / 100:g} for {self.budget:g} %" if 1 < self.budget <= 100 else None
            problem = Problem(f"a budget of {self.budget}", allowed="a share of multiply-accumulates, 0...1", hint=hint)
            raise ConfigError(problem)


@dataclass(frozen=True)
class ExportOptions:
    """Which files are written.

    Parameters
    ----------
    export : str | Sequence[str]
        Formats beside the fake-quantized model, of :data:`calibrant.exports.EXPORTS`: ``("tflite",)`` or ``"tflite"``.
    name : str | None
        Prefix of the files, ``NAME_fakequant.pb`` …; by default the model file's name, ``model`` for a model in memory.
    tflite_io : str
        ``'float32'`` or ``'int8'``: inputs and outputs of the ``.tflite`` file.
    tflite_batch : int | None
        Its fixed number of samples a run; the model's own, which may be open, by default.
    tflite_ops : str
        ``'all'``: every operator of it that has an integer kernel runs on integers; ``'layers'``: the quantized layers,
        and what is between them.
    tflite_shape : Mapping[str, Sequence[int]] | None
        Its fixed shapes, by input name, where the model leaves sizes open.
    tflite_dense_per_channel : bool
        Whether its dense layers (MatMul) have a scale for each output channel, which no other format can hold.
    page : bool
        Write the report as a page, too: ``report.html``.

    Raises
    ------
    DataError
        A value of a type that is not allowed.
    ConfigError
        A format or a setting of the ``.tflite`` file that does not exist, or such a setting where none is written.
    OutputError
        A name that files cannot have.
    """

    export: str | Sequence[str] = ()
    name: str | None = None
    tflite_io: str = "float32"
    tflite_batch: int | None = None
    tflite_ops: str = "all"
    tflite_shape: Mapping[str, Sequence[int]] | None = None
    tflite_dense_per_channel: bool = False
    page: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "export", checked_exports(self.export))
        file_prefix(self.name, None)
        if self.tflite != TfliteSettings() and not self.writes_tflite:
            given = [field.name for field in fields(self) if field.name.startswith("tflite_")]
            given = [name for name in given if getattr(self, name) != getattr(type(self), name)]
            message = f"{', '.join(given)}: no .tflite is written"
            raise ConfigError(Problem(message, hint="ask for it, --export tflite (export='tflite')"))

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, each once."""
        return tuple(self.export)

    @property
    def writes_tflite(self) -> bool:
        """Whether a ``.tflite`` file is among them."""
        return "tflite" in self.formats

    @property
    def tflite(self) -> TfliteSettings:
        """The settings of the ``.tflite`` file."""
        shapes = fixed_shapes(self.tflite_shape)
        return TfliteSettings(self.tflite_io, self.tflite_batch, self.tflite_ops, shapes, self.tflite_dense_per_channel)


OptionGroup = ModelOptions | DataOptions | CalibrationOptions | ExportOptions
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Options:
    """All groups of options of one call."""

    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    export: ExportOptions = field(default_factory=ExportOptions)

    @property
    def groups(self) -> tuple[OptionGroup, ...]:
        """The groups, as the functions of the interface take them."""
        return self.model, self.data, self.calibration, self.export

    @classmethod
    def of(cls, accepted: Sequence[type], groups: Sequence[OptionGroup], keywords: Mapping[str, Any]) -> Options:
        """The options of a call; a keyword takes precedence over the field of a group.

        Parameters
        ----------
        accepted : Sequence[type]
            The groups that the function takes.
        groups : Sequence[OptionGroup]
            The groups that were given.
        keywords : Mapping[str, Any]
            The keywords that were given.

        Raises
        ------
        DataError
            A keyword that is in none of the groups, something else than a group, or a group given twice.
        ConfigError
            As of :class:`ExportOptions`.
        ModelError
            A ``tf.function`` is being traced, in which nothing can be run.
        """
        if sys.modules.get("tensorflow") is not None:
            from calibrant.graph.tensorflow import refuse_in_function

            refuse_in_function()
        chosen = {name: kind() for name, kind in _KINDS.items()}
        given: set[type] = set()
        for group in groups:
            if type(group) not in accepted or type(group) in given:
                allowed = ", ".join(kind.__name__ for kind in accepted)
                raise DataError(Problem(f"unexpected argument {group!r}", allowed=f"each once: {allowed}"))
            given.add(type(group))
            chosen[_NAMES[type(group)]] = group
        known = {entry.name: _NAMES[kind] for kind in accepted for entry in fields(kind)}
        if unknown := [name for name in keywords if name not in known]:
            raise DataError(*(_unknown_keyword(name, list(known)) for name in unknown))
        for name in list(chosen):
            changed = {keyword: value for keyword, value in keywords.items() if known[keyword] == name}
            chosen[name] = replace(chosen[name], **changed)
        return cls(**chosen)


_KINDS: dict[str, Callable[[], Any]] = {
    "model": ModelOptions,
    "data": DataOptions,
    "calibration": CalibrationOptions,
    "export": ExportOptions,
}
_NAMES: dict[Any, str] = {kind: name for name, kind in _KINDS.items()}
TO_READ = (ModelOptions, DataOptions)
TO_QUANTIZE = (ModelOptions, DataOptions, CalibrationOptions, ExportOptions)
UNCHECKED = frozenset({"Any", "Sequence[Any]"})
"""Annotations of models, data and configurations, which are checked where they are read."""


def takes_keywords(*accepted: type, rows: Rows = ACCEPTED) -> Callable[[Function], Function]:
    """Check a function's own arguments, and show the fields of groups that it takes as ``**keywords``.

    Called inside a ``tf.function``, it refuses that by itself (:meth:`Options.of`).

    Parameters
    ----------
    *accepted : type
        The groups.
    rows : Rows
        By annotation, what an argument takes; one whose annotation is in ``UNCHECKED`` the function checks itself.
    """

    def shown(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
        checked = {
            entry.name: entry.annotation
            for entry in own
            if entry.kind is not entry.VAR_POSITIONAL and entry.annotation not in UNCHECKED
        }
        leading = [entry.name for entry in own if entry.kind is entry.POSITIONAL_OR_KEYWORD]
        of_groups = [
            inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=entry.default, annotation=entry.type)
            for kind in accepted
            for entry in fields(kind)
        ]

        @wraps(function)
        def call(*positional: Any, **keywords: Any) -> Any:
            given = dict(zip(leading, positional, strict=False)) | keywords
            check_arguments(checked, {name: given[name] for name in checked if name in given}, rows)
            return function(*positional, **keywords)

        call.__signature__ = signature.replace(parameters=[*own, *of_groups])  # type: ignore[attr-defined]
        call.autograph_info__ = {}  # type: ignore[attr-defined]  # AutoGraph calls it as it is, unconverted
        return cast("Function", call)

    return shown


def _unknown_keyword(name: str, known: Sequence[str]) -> Problem:
    hint = did_you_mean(name, known)
    if name == "batch_num":
        hint = "the configuration has batch_num; samples= counts samples"
    return Problem(f"unknown keyword {name!r}", allowed=", ".join(known), hint=hint)
