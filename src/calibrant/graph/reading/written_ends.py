"""What ``report.json`` says about inputs and outputs of the GraphDef files beside it: they do not say it themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.file_endings import QUANTIZED_GRAPHS, SIMULATION
from calibrant.graph import nodes as nd
from calibrant.json_text import read_json


@dataclass(frozen=True)
class Ends:
    """Tensors in the order of the model that was quantized, and what it calls them.

    Parameters
    ----------
    inputs, outputs : tuple[str, ...]
        Tensors.
    input_keys, output_keys : tuple[str, ...]
        Names, one a tensor.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_keys: tuple[str, ...]
    output_keys: tuple[str, ...]


def written_ends(path: Path, nodes: Collection[str]) -> Ends | None:
    """Inputs and outputs of a file that a quantization wrote; None where nothing fitting is said about it.

    Parameters
    ----------
    path : Path
        The file; its folder may have a report.
    nodes : Collection[str]
        Names of the nodes of the file.
    """
    if not path.name.endswith(QUANTIZED_GRAPHS):
        return None
    try:
        report = read_json(path.parent / "report.json")
        model, notes = report["model"], report.get("exports", {}).get("tflite", {})
        is_simulation = path.name.endswith(SIMULATION)
        outputs = notes.get("simulation_outputs") if is_simulation else model["output_tensors"]
        lists = [model["input_tensors"], outputs, model["inputs"], model["outputs"]]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    if not all(map(_is_list_of_names, lists)) or [len(lists[0]), len(lists[1])] != [len(lists[2]), len(lists[3])]:
        return None
    ends = Ends(*map(tuple, lists))
    tensors: Sequence[str] = (*ends.inputs, *ends.outputs)
    return ends if all(nd.split_tensor(nd.tensor_name(tensor))[0] in nodes for tensor in tensors) else None


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
