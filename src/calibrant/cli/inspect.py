"""``calibrant inspect``: what is in a model, before any configuration."""

from __future__ import annotations

import json

import click

from calibrant.cli.options import model_options, read_model


@click.command()
@click.argument("model", type=click.Path())
@model_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def inspect(model: str, inputs: list[str], outputs: list[str], signature: str, as_json: bool) -> None:
    """List inputs, outputs, quantizable layers, those that are not and why, and the fusions of MODEL."""
    from calibrant.cli.show import table
    from calibrant.config import load_config
    from calibrant.graph.run import readable

    read = read_model(model, load_config(None), inputs, outputs, signature)
    original, folded = read.original, read.folded
    tensors = [
        (role, key, readable(tensor), _shape(original.shape(tensor)), original.dtype(tensor).name)
        for role, keys, names in (
            ("input", original.input_keys, original.inputs),
            ("output", original.output_keys, original.outputs),
        )
        for key, tensor in zip(keys, names, strict=True)
    ]
    found = [
        (layer.name, layer.type, _shape(layer.weights_shape) if layer.constant else None, layer.bias)
        for layer in read.layers.values()
    ]
    fusions = [(fusion.layer, fusion.kind, ", ".join(fusion.absorbed)) for fusion in folded.fusions]
    blocks = {
        "inputs and outputs": (("role", "key", "tensor", "shape", "type"), tensors),
        "quantizable layers": (("layer", "type", "weights", "bias"), found),
        "not quantizable": (("node", "type", "reason"), read.info.rejected),
        "fusions": (("layer", "kind", "absorbed"), fusions),
        "not fused": (("node", "reason"), folded.left),
    }
    if as_json:
        content = {
            title: [dict(zip(columns, row, strict=True)) for row in rows] for title, (columns, rows) in blocks.items()
        }
        click.echo(json.dumps(content, indent=2))
        return
    for title, (columns, rows) in blocks.items():
        if rows:
            table(f"{title} ({len(rows)})", columns, rows)
            click.echo()


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "any" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
