"""The models in a folder that a quantization has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.evaluation.tflite_runner import TfliteRunner, open_tflite
from calibrant.graph.graph import Graph
from calibrant.graph.load import load
from calibrant.options import ModelOptions
from calibrant.publish.write import finish_earlier_run
from calibrant.steps.planned import load_model

FAKEQUANT, SIMULATION, TFLITE, LOWERED = "_fakequant.pb", "_int8_fakequant.pb", "_int8.tflite", "_quantized.pb"
FLOAT = "float"


def open_models(
    folder: Path, model: Any = None, options: ModelOptions | None = None
) -> dict[str, Graph | TfliteRunner]:
    """Float model and files by kind, in the order of the table."""
    if not folder.is_dir():
        raise ModelError(Problem("there is no such folder", file=str(folder), allowed="the folder that quantize wrote"))
    finish_earlier_run(folder)
    fakes = [path for path in folder.glob(f"*{FAKEQUANT}") if not path.name.endswith(SIMULATION)]
    fakes += [path for path in folder.glob(f"*{FAKEQUANT.removesuffix('.pb')}") if path.is_dir()]  # above 2 GB
    fakes.sort()
    if len(fakes) != 1:
        found = ", ".join(path.name for path in fakes) or "none"
        raise ModelError(
            Problem(
                f"{found} found", file=str(folder), allowed=f"a folder with one NAME{FAKEQUANT}, as quantize makes it"
            )
        )
    models: dict[str, Graph | TfliteRunner] = {}
    if model is not None:
        models[FLOAT] = load_model(model, options or ModelOptions())
    models[FAKEQUANT] = load(fakes[0])  # the report beside it names inputs and outputs
    prefix = fakes[0].name.removesuffix(".pb").removesuffix(FAKEQUANT.removesuffix(".pb"))
    for kind in (LOWERED, SIMULATION, TFLITE):
        path = folder / f"{prefix}{kind}"
        if path.exists() and kind == TFLITE:
            models[kind] = open_tflite(path)
        elif path.exists():
            models[kind] = load(path)
    if len(models) < 2:
        hint = "quantize with --export tflite or ascend, or give the float model with --model"
        raise ModelError(Problem("there is nothing to compare", file=str(folder), hint=hint))
    return models
