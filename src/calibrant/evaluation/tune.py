"""``tune``: find the configuration that keeps a model's accuracy, with as few layers in float as possible."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from calibrant.config import load_config
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.config.text_write import write_config
from calibrant.data.amount import DataUse, used_sentence
from calibrant.data.batches import Batches
from calibrant.data.option_types import ACCEPTED, Rows
from calibrant.errors import DataError, ModelError, Problem
from calibrant.evaluation.candidate import MUTATIONS, Candidate, Mutation, configuration_for
from calibrant.evaluation.concise import concise
from calibrant.evaluation.labels import labels_by_output, output_place
from calibrant.evaluation.trials import TrialPool, TrialSetup
from calibrant.evaluation.tune_search import Outcome, Proposal, SearchSettings, is_met, search
from calibrant.options import TO_READ, CalibrationOptions, OptionGroup, Options, takes_keywords
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.report.given_options import run_options
from calibrant.report.same_options import same_options
from calibrant.steps.calibration_data import open_calibration
from calibrant.steps.plan import make_plan
from calibrant.steps.planned import folded_model, load_model


@dataclass(frozen=True)
class Tried:
    """One row of the table: what was tried, how many layers it left in float, and how it did."""

    what: str
    in_float: int
    outcome: Outcome


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Parameters
    ----------
    configuration : Configuration
        It reproduces ``outcome``.
    met : bool
        Whether the tolerance is met.
    outcome : Outcome
        Loss and signal-to-noise ratio of the best.
    in_float : tuple[str, ...]
        Layers that it leaves in float beyond those of the given configuration.
    tried : tuple[Tried, ...]
        Every candidate in the order of the search.
    refine : bool
        Whether the configuration is for a run with ``refine``.
    options : Mapping[str, Any]
        What else it is for, as ``report.json`` says it of a run: how the data were read, and ``bias_correction``.
    """

    configuration: Configuration
    met: bool
    outcome: Outcome
    in_float: tuple[str, ...]
    tried: tuple[Tried, ...]
    refine: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The configuration file."""
        verdict = "meets" if self.met else "does not meet"
        comment = f"found by calibrant tune; {verdict} the tolerance: {self.outcome.summary}"
        comment += f"; for quantize {same_options({**self.options, 'refine': self.refine})}"
        return write_config(self.configuration, comment)


def _are_repairs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, Mutation) for each in value)


HALF_A_POINT = 0.005
"""As a share, the tolerance by default."""
MUCH = 0.1
"""A share from which a tolerance may have been meant in percentage points."""
TYPES: Rows = {**ACCEPTED, "Sequence[Mutation]": (_are_repairs, "a list of Mutation; () for nothing")}


@takes_keywords(*TO_READ, rows=TYPES)
def tune(
    model: Any,
    config: Any = None,
    data: Any = None,
    *options: OptionGroup,
    tolerance: float = HALF_A_POINT,
    test_data: Any = None,
    labels: Any = None,
    output: str | None = None,
    ignore_labels: Collection[int] = (),
    label_offset: int = 0,
    repairs: Sequence[Mutation] = MUTATIONS,
    layers_in_float: bool = True,
    thorough: bool = False,
    bias_correction: bool = True,
    refine: bool = False,
    workers: int = 1,
    samples: int | str | None = None,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> Tuned:
    """Search for a configuration whose loss is at most ``tolerance``.

    Parameters
    ----------
    model, config, data : Any
        As for :func:`calibrant.quantize`; the configuration is where the search starts, its ``batch_num`` is kept. What
        is found holds for a run with the same ``bias_correction`` and ``refine``.
    *options : OptionGroup
        :class:`calibrant.ModelOptions` and :class:`calibrant.DataOptions`.
    tolerance : float
        Share in 0…1: of the test samples, or of positions that have labels, right answers that may be lost against the
        float model; of F1 over all labels (micro), where a sample may have several labels; where the labels are numbers
        to be predicted, of R², the explained share of their variance; without labels, predictions that may differ.
        0.005 is half a percentage point, ``--tolerance 0.5`` of the command line, which takes points. From 0.1 on, a
        warning says how many points that is.
    test_data : Any
        What the loss is measured on; the calibration data by default.
    labels : Any
        Of the test data, as for :func:`calibrant.evaluate`. Without them, y of test data that are ``(x, y)`` pairs.
    output : str | None
        Which of several outputs is judged, and has the labels; by default the worst of all counts.
    ignore_labels : Collection[int]
        As for :func:`calibrant.evaluate`.
    label_offset : int
        As for :func:`calibrant.evaluate`.
    repairs : Sequence[Mutation]
        What may be changed in the settings of layers; () for nothing.
    layers_in_float : bool
        Whether layers may be left in float.
    thorough : bool
        Go on repairing after the tolerance is met, as long as the outputs get nearer to the float model's.
    bias_correction, refine : bool
        As for :func:`calibrant.quantize`.
    workers : int
        Processes that evaluate candidates.
    samples : int | str | None
        As for :func:`calibrant.quantize`; the configuration that is found says it as ``batch_num``.
    track : ProgressFn
        As for :func:`calibrant.quantize`.
    **keywords : Any
        Fields of the options.

    Returns
    -------
    Tuned
        The best configuration, whether it meets the tolerance, and what was tried.

    Raises
    ------
    CalibrantError
        As for :func:`calibrant.quantize`; or a tolerance below 0 or above 1.
    """
    if not 0 <= tolerance <= 1:
        hint = f"{tolerance / 100:g} for {tolerance:g} points" if 1 < tolerance <= 100 else None
        raise DataError(Problem(f"a tolerance of {tolerance}", allowed="a share of the samples, 0...1", hint=hint))
    if tolerance >= MUCH:
        LOG.warning(
            "the tolerance lets %g percentage points be lost: in Python it is a share, 0.005 for half a point",
            100 * tolerance,
        )
    configuration = load_config(config)
    chosen = Options.of(TO_READ, options, keywords)
    original = load_model(model, chosen.model)
    if config is None or samples is not None:
        batches = open_calibration(data, original, chosen.data, samples, None)
        _require_restartable(batches)
        configuration = replace(configuration, batch_num=batches.number())
        use = DataUse.of(batches)
        LOG.info(used_sentence(use.samples, use.available, batches.place))
    read = folded_model(original, configuration)

    def plan_of(given: Configuration) -> Plan:
        return make_plan(given, read.info, read.folded.graph)

    plan = plan_of(configuration)
    setup = TrialSetup(
        model=original,
        data=data,
        test=data if test_data is None else test_data,
        labels=labels_by_output(labels, original, output),
        output=None if output is None else output_place(original, output),
        label_offset=label_offset,
        ignore_labels=tuple(ignore_labels),
        bias_correction=bias_correction,
        refine=refine,
        data_options=chosen.data,
    )
    settings = SearchSettings(
        tolerance=tolerance, repairs=tuple(repairs), layers_in_float=layers_in_float, thorough=thorough
    )
    tried: list[Tried] = []
    searching = search(Candidate(plan.layers), settings)
    with TrialPool(setup, workers) as pool:
        for note in pool.notes:
            LOG.info("%s", note)
        for doubt in pool.doubts:
            LOG.warning("%s", doubt)

        def ran(proposals: list[Proposal]) -> list[Outcome]:
            pairs = [(configuration_for(configuration, plan, found.choice), found.rank) for found in proposals]
            found = pool.run(pairs)
            tried.extend(
                Tried(proposal.what, len(proposal.choice.in_float), outcome)
                for proposal, outcome in zip(proposals, found, strict=True)
            )
            return found

        choice, outcome = drive(searching, ran, track)
    if outcome.error is not None:
        raise ModelError(Problem(f"no configuration that was tried can be quantized: {outcome.error}"))
    calibration = CalibrationOptions(samples=samples, bias_correction=bias_correction, workers=workers)
    return Tuned(
        configuration=concise(configuration_for(configuration, plan, choice), plan_of),
        met=is_met(outcome, tolerance),
        outcome=replace(outcome, ranking=()),
        in_float=choice.in_float,
        tried=tuple(tried),
        refine=refine,
        options=run_options(replace(chosen, calibration=calibration), refine=refine, equalize=None),
    )


def _require_restartable(batches: Batches) -> None:
    if not batches.restartable:
        message = "the data can be read only once, but tuning reads them for every candidate"
        raise DataError(Problem(message, hint="give files, arrays, or a function that makes the generator anew"))


def drive(searching: Any, ran: Any, track: ProgressFn = no_progress) -> tuple[Candidate, Outcome]:
    """Hand proposals to the runner and outcomes back until the search returns."""
    answer: list[Any] = []

    def rounds() -> Any:
        proposals = next(searching)
        while True:
            yield proposals
            try:
                proposals = searching.send(answer.pop())
            except StopIteration as done:
                answer.append(done.value)
                return

    for proposals in track(rounds(), "tuning", None):
        answer.append(ran(proposals))
    return answer.pop()
