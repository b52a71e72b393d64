"""``calibrant verify``: compare the files of one result."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from calibrant.cli.data_options import data_options, label_options, library_keywords
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import other_data_words, place, say_next
from calibrant.cli.options import model_options, split_share


@click.command()
@click.argument("folder", type=click.Path())
@click.option("--data", required=True, help="Inputs: folder of .bin files or images, .npy, .npz or idx file.")
@click.option("--labels", help="As for evaluate: class numbers, or 0 and 1 at positions.")
@click.option("--model", type=click.Path(), help="The float model, to be compared as well.")
@click.option(
    "--least-within", callback=split_share, default="0.99", show_default=True, help="Share of outputs within a step."
)
@click.option(
    "--least-agreement", callback=split_share, default="0.99", show_default=True, help="Share of equal top-1."
)
@json_option
@model_options
@label_options
@data_options
@click.pass_obj
def verify(
    settings: dict[str, bool],
    folder: str,
    data: str,
    labels: str | None,
    output: str | None,
    ignore_label: tuple[int, ...],
    label_offset: int,
    model: str | None,
    least_within: float,
    least_agreement: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the models in FOLDER on the same inputs; exit code 1 if a difference exceeds the limits."""
    from calibrant.cli.show import tracker
    from calibrant.evaluation.verification import Limits
    from calibrant.evaluation.verify import verify as run

    found = run(
        folder,
        data,
        labels,
        model=model,
        output=output,
        ignore_labels=ignore_label,
        label_offset=label_offset,
        limits=Limits(least_within, least_agreement),
        track=tracker(settings["quiet"]),
        **library_keywords(options),
    )
    if as_json:
        print_json({**asdict(found), "passed": found.passed})
    else:
        _show(found)
        for pair in found.pairs:
            if pair.lost:
                click.echo(
                    f"warning: {pair.lost:,} outputs are numbers in the {pair.first} model, and infinite or no numbers "
                    f"in the {pair.second} one",
                    err=True,
                )
        for pair in found.noisy if found.passed else ():
            click.echo(
                f"warning: the .tflite computes as simulated, but with {pair.sqnr_db:.1f} dB SQNR beside the "
                "fake-quantized model, one of the two is mostly noise; quantize and evaluate show how near each is to "
                "the float model",
                err=True,
            )
        if found.passed and found.noisy:
            say_next("where it is the .tflite, quantize with --tflite-ops layers, or --refine if that was not done")
        elif found.passed:
            golden_data = f"--data DATA{other_data_words()}"
            checked = f"; calibrant golden {place(folder)} {golden_data} checks on the device"
            golden = checked if _has_lite_file(found) else ""
            say_next(f"the files can be deployed{golden}")
        else:
            say_next("; ".join(after(pair) for pair in found.pairs if pair.passed is False))
    if not found.passed:
        sys.exit(1)


def after(pair: Any) -> str:
    """What to do about a pair that exceeds the limit."""
    from calibrant.evaluation.verification import LITE_FILE

    if pair.second != LITE_FILE:
        return (
            f"compare the {pair.second} model with the float one, calibrant evaluate: where the network itself rounds "
            "or chooses (Round, ArgMax, look-ups), what float arithmetic in another order leaves can grow"
        )
    return (
        "quantize with --tflite-ops layers, which leaves more of the .tflite in float; or look at the first layer that "
        "differs; or allow more with --least-within and --least-agreement"
    )


def _has_lite_file(found: Any) -> bool:
    from calibrant.evaluation.verification import LITE_FILE

    return any(model.name == LITE_FILE for model in found.models)


def _show(found: Any) -> None:
    from calibrant.cli.show import table

    scores = [(score.name, score.samples, _percent(score.top1)) for score in found.models]
    table("models", ("model", "samples", "top-1"), scores)
    click.echo()
    columns = ("first", "second", "verdict", "same top-1", "within a step", "equal", "largest steps", "relative")
    rows = [
        (
            pair.first,
            pair.second,
            {True: "passes", False: "exceeds the limit", None: "shown only"}[pair.passed],
            _percent(pair.agreement),
            _percent(pair.share_within),
            _percent(pair.share_equal),
            pair.largest_steps,
            pair.relative,
        )
        for pair in found.pairs
    ]
    table("pairs", columns, rows)
    steps = dict.fromkeys(
        f"{pair.step:.6g}" for pair in found.pairs if pair.step is not None and pair.passed is not None
    )
    if steps:
        click.echo(f"\none output step is {', '.join(steps)}")
    if any(pair.grown for pair in found.pairs):
        click.echo(
            "every operator of the .tflite computes as simulated; the steps by which kernels differ grow on their way, "
            "and change the outputs no more than rounding between layers does"
        )
    for pair in found.pairs:
        if pair.divergence is not None:
            click.echo(
                f"{pair.first} and {pair.second} first differ by more than a step at {pair.divergence.layer}: "
                f"up to {pair.divergence.largest_steps} steps, {100 * pair.divergence.share_beyond:.3g} % of its values"
            )


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"
