"""Step: whether the channels are equalized, balanced or left as they are.

Where the error of the calibrated network is small, nothing is compared. Else each way is calibrated on one half of the
first samples and judged on the other half, and the other way round: by the error at the network's outputs (before a
final Softmax), with everything quantized. So the ranges are judged by samples that did not choose them, as balanced
ranges rest on few values of each channel. What adds no operation goes first, and a way is taken only if it is clearly
better than those before it, in the geometric mean of the samples' errors: of the few samples, one with a value far
beyond the ranges would decide the arithmetic mean, and is but one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import LayerPlan
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.graph import nodes as nd
from calibrant.graph.node_input import read_tensor
from calibrant.options import ExportOptions, Options
from calibrant.progress import LOG, ProgressFn, Stopwatch, only_warnings
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.balancing.balance import balance
from calibrant.steps.balancing.equalize import equalize, find_pairs
from calibrant.steps.observed import observed_network, with_rounding
from calibrant.steps.planned import Planned
from calibrant.steps.prepared import Prepared, prepare_balanced
from calibrant.steps.refining.output_errors import Piece
from calibrant.steps.refining.range_search import is_better
from calibrant.steps.refining.refine_between import readers_of, with_rounded
from calibrant.steps.refining.whole_errors import WholeErrors, sizes_of, whole_squares

FEWEST_SAMPLES = 16
"""Number of samples that each half has at least; else nothing is decided."""
STRENGTH = 0.5
SMALL_ERROR = 0.04
"""Mean error of the outputs, relative to their size, below which few answers change (28 dB)."""
WORTH = 0.97
"""Share of the error that has to be left."""
WORTH_A_PRODUCT = 0.9
"""The same for balancing, whose products are in float between the integer operators of a LiteRT file."""
NOTHING = 1e-6
"""Relative error that counts as none."""
BALANCED = "balanced"
REFINE = "refine"
"""Where the balancer of a layer comes from that is balanced by this step."""


@dataclass(frozen=True, eq=False)
class Channels:
    """A way to treat the channels: whether they are equalized, and a plan with or without balanced layers."""

    planned: Planned
    equalized: bool = False


def choose_channels(
    plain: Channels, network: QuantizedNetwork, whole: WholeErrors, options: Options, track: ProgressFn
) -> Channels:
    """The way whose outputs are nearest to the float network's; the plain one, where no other is clearly better.

    Parameters
    ----------
    plain : Channels
        The folded network, of which no layer is equalized or balanced.
    network : QuantizedNetwork
        The same, calibrated.
    whole : WholeErrors
        Compares networks on the first samples.
    options : Options
        How the network is calibrated.
    track : ProgressFn
        Shows progress.
    """
    ways = _ways(plain.planned)
    if not ways:
        return plain
    pieces = whole.pieces
    middle = _middle([piece.samples for piece in pieces])
    if not middle or whole.mean(network) < SMALL_ERROR:
        return plain
    expected = whole.reference
    whole.make_room()
    turns = [
        _Turn(pieces[middle:], pieces[:middle], expected[:middle]),
        _Turn(pieces[:middle], pieces[middle:], expected[middle:]),
    ]
    best, least = plain, _errors(plain, turns, options)
    before, taken = float(least.mean()), ""
    for name, way in track(ways.items(), "comparing", len(ways)):
        if least.mean() < SMALL_ERROR:
            break
        errors = _errors(way, turns, options)
        LOG.debug("refine: error %.4g with channels %s, %.4g before", errors.mean(), name, least.mean())
        adds_products = name == BALANCED and options.export.writes_tflite
        if is_nearer(errors, least, WORTH_A_PRODUCT if adds_products else WORTH):
            best, least, taken = way, errors, name
    if taken:
        LOG.info("refine: channels are %s: error %.2g of the outputs instead of %.2g", taken, least.mean(), before)
    return best


def is_nearer(errors: np.ndarray, others: np.ndarray, worth: float = WORTH) -> bool:
    """Whether errors are clearly smaller than others of the same samples: most of them, by what share it may be.

    Parameters
    ----------
    errors, others : np.ndarray
        Relative sizes of the errors, [samples].
    worth : float
        Share of the others that counts as no difference, 0 … 1.
    """
    return is_better(np.log(errors + NOTHING), np.log(worth * others + NOTHING))


def _middle(sizes: Sequence[int]) -> int:
    """The number of pieces in the first half; 0 where the halves would be too small."""
    before = np.cumsum([0, *sizes])
    smaller = np.minimum(before, before[-1] - before)
    return int(smaller.argmax()) if smaller.max() >= FEWEST_SAMPLES else 0


def _ways(planned: Planned) -> dict[str, Channels]:
    plans = {plan.name: plan for plan in planned.plan.layers}
    ways = {}
    if find_pairs(planned.folded.graph, planned.layers, plans):
        ways["equalized"] = Channels(planned, equalized=True)
    if any(entry.can_be_balanced for entry in planned.plan.layers):
        layers = tuple(map(_balanced, planned.plan.layers))
        ways[BALANCED] = Channels(replace(planned, plan=replace(planned.plan, layers=layers)))
    return ways


def _balanced(entry: LayerPlan) -> LayerPlan:
    if not entry.can_be_balanced:
        return entry
    sources = tuple({**dict(entry.sources), "balancer": REFINE}.items())
    return replace(entry, migration_strength=STRENGTH, sources=sources)


@dataclass(frozen=True, eq=False)
class _Turn:
    """The samples that calibrate and those that judge, with their outputs in float."""

    calibrating: Sequence[Piece]
    judging: Sequence[Piece]
    expected: Sequence[Sequence[np.ndarray]]


def _errors(way: Channels, turns: Sequence[_Turn], options: Options) -> np.ndarray:
    """The errors of all samples that judge, relative to the outputs' size."""
    with only_warnings():
        sizes = [_held_out_errors(way, turn, options) for turn in turns]
    return np.concatenate([each * np.sqrt(len(each)) for each in sizes])


def _held_out_errors(way: Channels, turn: _Turn, options: Options) -> np.ndarray:
    planned, runner = way.planned, CalibrationRunner(threads=options.calibration.threads)
    batches = open_data(lambda: (dict(piece.batch) for piece in turn.calibrating), inputs_of(planned.original))
    if way.equalized:
        planned = equalize(planned, batches, runner=runner)
    balanced = balance(planned.folded.graph, planned.layers, planned.plan, batches, runner=runner)
    prepared = prepare_balanced(planned, balanced, replace(options, export=ExportOptions(page=False)), Stopwatch())
    if options.export.writes_tflite:
        prepared = _with_observed_factors(prepared)
    runner.observe(prepared.observed, prepared.with_outputs, batches)
    network = observed_network(with_rounding(prepared))
    network = with_rounded(network, readers_of(network.graph, network.intermediate))
    return sizes_of(whole_squares(network, turn.expected, turn.judging))


def _with_observed_factors(prepared: Prepared) -> Prepared:
    """Observe what is divided by a product of its own: in a LiteRT file it was an integer before, of one scale."""
    graph, balanced = prepared.graph, prepared.balanced
    divided = [
        nd.data_inputs(graph.producer(read_tensor(graph, (name, balanced.layers[name].data_inputs[0]))))[0]
        for name in balanced.factors
        if not balanced.absorbed.get(name)
    ]
    between = dict.fromkeys((tensor for tensor in divided if tensor not in graph.inputs), False)
    histograms = {tensor: Histogram() for tensor in between} | dict(prepared.histograms)
    return replace(prepared, intermediate=between, histograms=histograms)
