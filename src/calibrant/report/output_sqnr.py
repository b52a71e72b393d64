"""The total signal-to-quantization-noise ratio in the report, and as one line for a person."""

from __future__ import annotations

import math
from typing import Any

from calibrant.data.batches import plural
from calibrant.quantized_network import OutputSqnr

NOISE_DB = 10.0
"""Below this, what the outputs say is mostly noise."""
REFINE_BELOW_DB = 30.0
"""Below this, some answers may change that refined ranges would keep."""
FILE_BELOW_BY_DB = 3.0
"""From here on a LiteRT file loses as much between the layers as in them."""
POOLED_BELOW_BY_DB = 3.0
"""From here on the median sample hides more than half of the noise."""
FEW_SAMPLES_DB = 5.0
"""How far all samples together may be below the median one before the verdict follows them."""


def sqnr_rows(measured: OutputSqnr | None) -> dict[str, Any]:
    """Plain values for the report; null for outputs without any difference, and where nothing was measured."""
    if measured is None:
        nothing = dict.fromkeys(("total_sqnr_db", "output_sqnr_db", "pooled_sqnr_db"))
        return {**nothing, "sqnr_samples": 0, "outputs_not_compared": []}
    return {
        "total_sqnr_db": _finite(measured.total_db),
        "output_sqnr_db": {name: _finite(value) for name, value in measured.by_output.items()},
        "pooled_sqnr_db": {name: _finite(value) for name, value in measured.pooled.items()},
        "sqnr_samples": measured.samples,
        "outputs_not_compared": list(measured.not_compared),
    }


def file_sqnr_rows(measured: OutputSqnr | None) -> dict[str, Any]:
    """The same of a LiteRT file; nothing where that was not measured."""
    if measured is None:
        return {}
    return {
        "tflite_sqnr_db": {name: _finite(value) for name, value in measured.by_output.items()},
        "tflite_pooled_sqnr_db": {name: _finite(value) for name, value in measured.pooled.items()},
        "tflite_outputs_not_compared": list(measured.not_compared),
    }


def sqnr_warnings(measured: OutputSqnr, refined: bool, ranked: bool = False) -> list[str]:
    """One sentence about each output that is mostly noise, none that is a number, or nothing but zeros.

    Parameters
    ----------
    measured : OutputSqnr
        The error of the outputs.
    refined : bool
        Whether the ranges have been refined.
    ranked : bool
        Whether it is known which layers cost the outputs most.
    """
    ranking = "sensitivity in the report names" if ranked else "quantize --sensitivity names"
    way_out = "try calibrant tune --refine" if refined else "try --refine or calibrant tune"
    where = f": {measured.undefined_at}" if measured.undefined_at else ""
    undefined = [
        f"output {name!r} is NaN or infinite on {count} of {measured.samples} calibration samples for which the float "
        f"model has numbers{where}"
        for name, count in measured.undefined.items()
    ]
    silent = [
        f"output {name!r} is 0 on all {measured.samples} calibration samples that were compared; nothing is known of "
        "other values: calibrate on data that make some"
        for name in measured.silent
        if measured.by_output[name] == math.inf
    ]
    return [*undefined, *silent] + [
        f"output {name!r} is mostly noise: {shown_db(value)} on "
        f"{plural(measured.samples, 'calibration sample', 'calibration samples')}; "
        f"{ranking} the layers that cost most and what to write of them; or {way_out}"
        for name, value in measured.by_output.items()
        if value < NOISE_DB and name not in measured.undefined
    ]


def sqnr_line(measured: OutputSqnr) -> str:
    """``outputs: 41.2 dB SQNR on 8 calibration samples``."""
    which = ""
    if len(measured.by_output) > 1:
        which = f" ({_lowest(measured)!r}, the lowest of {len(measured.by_output)})"
    names = ", ".join(map(repr, measured.not_compared))
    beside = f"; not compared, as the data decide how many values they have: {names}" if names else ""
    median = f"of the median sample{_together(measured)}"
    amount = plural(measured.samples, "calibration sample", "calibration samples")
    return f"outputs: {_value(measured)}{which} on {amount}, {median}{beside}"


def file_sqnr_line(measured: OutputSqnr, file: str) -> str:
    """``in mobilenet_int8.tflite: 38.0 dB``, where tensors between layers may have codes, too."""
    names = ", ".join(map(repr, measured.not_compared))
    reason = "as it has no tensor for what the Softmax reads, or another number of values"
    beside = f"; not compared, {reason}: {names}" if names else ""
    return f"in {file}: {_value(measured)}{_together(measured)}{beside}"


def file_hint(file: OutputSqnr, model: OutputSqnr, ops: str) -> str | None:
    """How a LiteRT file becomes as close as the fake-quantized model; None where it is, or close enough.

    Parameters
    ----------
    file, model : OutputSqnr
        Of the file, and of the fake-quantized model.
    ops : str
        What runs on integers in the file: ``'all'`` or ``'layers'``.
    """
    if ops != "all" or file.total_db >= min(REFINE_BELOW_DB, model.total_db - FILE_BELOW_BY_DB):
        return None
    most = f"not measured here; {shown_db(model.total_db)} at most"
    return f"between layers it has codes, too: --tflite-ops layers leaves most of these in float ({most})"


def refine_hint(measured: OutputSqnr) -> str | None:
    """Why a run that was not refined should be; None where that gains little.

    Parameters
    ----------
    measured : OutputSqnr
        The error of the outputs.
    """
    if measured.total_db >= REFINE_BELOW_DB:
        return None
    return f"below {REFINE_BELOW_DB:g} dB answers begin to change: --refine chooses ranges by the outputs' error"


def shown_db(value: float) -> str:
    """``41.0 dB``, rounded as ``report.json`` has it first, so that all places show one number."""
    return f"{round(value, 2):.1f} dB"


def judged_db(measured: OutputSqnr) -> float:
    """The median sample's ratio, or less where errors of other samples are far larger."""
    return min(measured.total_db, least_together(measured) + FEW_SAMPLES_DB)


def least_together(measured: OutputSqnr) -> float:
    """The ratio of all samples together, of the output where that is least; infinite where it was not measured."""
    return min(filter(math.isfinite, measured.pooled.values()), default=math.inf)


def _lowest(measured: OutputSqnr) -> str:
    """The output that is farthest off."""
    return min(measured.by_output, key=lambda name: measured.by_output[name])


def _together(measured: OutputSqnr) -> str:
    """The ratio of all samples together, where the median one does not tell it."""
    pooled = measured.pooled.get(_lowest(measured), math.inf)
    is_less = math.isfinite(pooled) and pooled < measured.total_db - POOLED_BELOW_BY_DB
    return f" ({shown_db(pooled)} of all together)" if is_less else ""


def _value(measured: OutputSqnr) -> str:
    return "without any difference" if measured.total_db == math.inf else f"{shown_db(measured.total_db)} SQNR"


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
