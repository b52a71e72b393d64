"""``calibrant evaluate``: several models on the same data, side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from calibrant.cli.data_options import data_options, label_options, library_keywords
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import say_next
from calibrant.cli.options import model_options

SHARES = frozenset({"top1", "top5", "mean_iou", "agreement", "f1", "exact_match", "hamming_accuracy"})
TITLES = {
    "name": "model",
    "top1": "top-1",
    "top5": "top-5",
    "mean_iou": "mean IoU",
    "f1": "F1",
    "exact_match": "exact match",
    "hamming_accuracy": "right labels",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "mse": "MSE",
    "sqnr_db": "SQNR dB",
    "largest_difference": "largest diff.",
}
SQNR_FOOT = (
    "SQNR: of the outputs as they are, all samples together; quantize has the median sample's, before a final Softmax"
)

FIRST = ("output", "name", "samples", "top1", "f1", "exact_match", "hamming_accuracy", "agreement", "sqnr_db")
"""The columns that matter most; the others follow in their order."""


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path())
@click.option("--data", required=True, help="Inputs: folder of .bin files or images, .npy, .npz or idx file.")
@click.option(
    "--labels",
    help="Class numbers, 0 and 1, or numbers to be predicted: .npy, .npz, .txt, .csv, idx, or a folder of "
    "images in class folders; without, outputs are compared.",
)
@json_option
@model_options
@label_options
@data_options
@click.pass_obj
def evaluate(
    settings: dict[str, bool],
    models: tuple[str, ...],
    data: str,
    labels: str | None,
    output: str | None,
    ignore_label: tuple[int, ...],
    label_offset: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare MODELS on the same data: accuracy where there are labels, and each against the first."""
    import calibrant
    from calibrant.cli.show import table, tracker

    scores = calibrant.evaluate(
        models,
        data,
        labels,
        output=output,
        ignore_labels=ignore_label,
        label_offset=label_offset,
        track=tracker(settings["quiet"]),
        **library_keywords(options),
    )
    if as_json:
        print_json([asdict(score) for score in scores])
        return
    columns = [key for key in asdict(scores[0]) if any(getattr(score, key) is not None for score in scores)]
    columns.sort(key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))
    rows = [[_shown(key, getattr(score, key)) for key in columns] for score in scores]
    table("evaluation", [TITLES.get(key, key) for key in columns], rows)
    if "sqnr_db" in columns:
        click.echo(SQNR_FOOT)
    if any(model.endswith(".tflite") for model in models):
        say_next("calibrant verify OUT holds a .tflite to what the simulation says of it")
    elif len(models) > 1:
        say_next("if too much is lost, calibrant quantize --sensitivity names the layer, or calibrant tune")


def _shown(key: str, value: Any) -> Any:
    return f"{100 * value:.2f} %" if value is not None and key in SHARES else value
