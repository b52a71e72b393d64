"""``calibrant inspect``: what is in a model, before any configuration."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from calibrant.cli.json_output import json_option
from calibrant.cli.next_step import model_words, place, say_next
from calibrant.cli.options import model_options
from calibrant.errors import ModelError

if TYPE_CHECKING:
    from calibrant.graph.graph import Graph

Block = tuple[Sequence[str], Sequence[Any]]
"""Names of the columns, and the rows."""


@click.command()
@click.argument("model", type=click.Path())
@model_options
@click.option(
    "--nodes",
    is_flag=False,
    flag_value="*",
    metavar="[PATTERN]",
    help="List the tensors whose names match (* and ?; or a part of the name) instead, to see where to cut.",
)
@json_option
def inspect(
    model: str,
    nodes: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """List inputs, outputs, quantizable layers, those that are not and why, and the fusions of MODEL."""
    from calibrant.config import load_config
    from calibrant.graph.reading.cut_proposal import unfeedable
    from calibrant.graph.reading.frozen import all_nodes
    from calibrant.graph.running.run import readable
    from calibrant.options import ModelOptions
    from calibrant.steps.planned import folded_model, load_model

    try:
        original = load_model(model, ModelOptions(**options))
    except ModelError as error:
        if nodes is None or error.unfit is None:
            raise
        _show({"tensors": _tensors(all_nodes(error.unfit, model), nodes)}, as_json)
        click.echo(f"note: the graph is listed as it is in the file; it does not fit as it is:\n{error}", err=True)
        return
    if nodes is not None:
        _show({"tensors": _tensors(original, nodes)}, as_json)
        return
    read = folded_model(original, load_config(None))
    folded = read.folded
    tensors = [
        (role, key, readable(tensor), original.shape(tensor), original.dtype(tensor).name)
        for role, keys, names in (
            ("input", original.input_keys, original.inputs),
            ("output", original.output_keys, original.outputs),
        )
        for key, tensor in zip(keys, names, strict=True)
    ]
    layers = [
        (layer.name, layer.type, layer.weights_shape if layer.constant else None, layer.bias)
        for layer in read.layers.values()
    ]
    fusions = [(fusion.layer, fusion.kind, fusion.absorbed) for fusion in folded.fusions]
    blocks: dict[str, Block] = {
        "inputs and outputs": (("role", "key", "tensor", "shape", "type"), tensors),
        "quantizable layers": (("layer", "type", "weights", "bias"), layers),
        "not quantizable": (("node", "type", "reason"), read.info.rejected),
        "fusions": (("layer", "kind", "absorbed"), fusions),
        "not fused": (("node", "reason"), folded.left),
    }
    _show(blocks, as_json)
    for problem in unfeedable(original):
        click.echo(f"note: {problem}", err=True)
    if as_json:
        return
    if layers:
        say_next(f"calibrant init {place(model)}{model_words()} writes a configuration file with these layers")
    elif read.info.weight_only:
        quantize = f"calibrant quantize {place(model)}{model_words()} --data DATA --out OUT"
        say_next(f"{quantize} stores the weights inside loops and branches as integers, and nothing else")
    else:
        click.echo("note: there is no layer to quantize", err=True)


def _tensors(graph: Graph, pattern: str) -> Block:
    """Name, operation, shape and type of the tensors whose node matches, constants left out."""
    from calibrant.graph.reading.frozen import known_tensors
    from calibrant.graph.running.run import readable

    wanted = pattern.lower() if set(pattern) & set("*?[") else f"*{pattern.lower()}*"
    rows = []
    for tensor, (shape, dtype) in known_tensors(graph).items():
        node = graph.producer(tensor)
        if node.op != "Const" and fnmatch.fnmatchcase(node.name.lower(), wanted):
            rows.append((readable(tensor), node.op, shape, "unknown" if dtype is None else dtype.name))
    return ("tensor", "operation", "shape", "type"), rows


def _show(blocks: Mapping[str, Block], as_json: bool) -> None:
    from calibrant.cli.show import table

    if as_json:
        content = {
            title: [dict(zip(columns, row, strict=True)) for row in rows] for title, (columns, rows) in blocks.items()
        }
        click.echo(json.dumps(content, indent=2))
        return
    for title, (columns, rows) in blocks.items():
        if rows:
            table(f"{title} ({len(rows)})", columns, [_in_words(columns, row) for row in rows], whole_names=True)
            click.echo()


def _in_words(columns: Sequence[str], row: Sequence[Any]) -> list[Any]:
    """A row with its shapes as a table shows them; an unknown rank is ``any``."""
    shaped = [column in ("shape", "weights") for column in columns]
    words = [
        value if not is_shape or (value is None and column == "weights") else _shape(value)
        for column, is_shape, value in zip(columns, shaped, row, strict=True)
    ]
    return [", ".join(value) if column == "absorbed" else value for column, value in zip(columns, words, strict=True)]


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "any" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
