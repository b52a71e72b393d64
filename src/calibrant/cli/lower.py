"""``calibrant lower``: a deployable model for Ascend devices, in stock operations."""

from __future__ import annotations

from pathlib import Path

import click

from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import place, say_next
from calibrant.cli.options import split_names


@click.command()
@click.argument("model", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="The .pb file to write.")
@click.option("--inputs", callback=split_names, help="Tensors to feed: A,B; inner tensors cut the graph there.")
@click.option("--outputs", callback=split_names, help="Tensors that are the results: A,B.")
@json_option
@click.pass_obj
def lower(
    settings: dict[str, bool], model: str, out: str, inputs: list[str] | None, outputs: list[str] | None, as_json: bool
) -> None:
    """Turn MODEL, a ..._quantized.pb of calibrant or of others, into stock TensorFlow operations.

    Its outputs are those of the fake-quantized model, so that the file can be checked without the device. A file of
    calibrant without such operations, as all its weights are in loops, is copied.
    """
    from calibrant.errors import ModelError, Problem
    from calibrant.graph.ascend.operators import LOWERINGS
    from calibrant.graph.reading.load import load
    from calibrant.publish.writable import check_writable_file, path_to_write
    from calibrant.publish.write import write_file
    from calibrant.steps.files_read import files_read
    from calibrant.steps.weights.weight_only import QUANTIZED

    target = path_to_write(out, "model to write")
    check_writable_file(target, files_read(model))
    graph = load(model, inputs, outputs)
    content = Path(model).read_bytes() if Path(model).is_file() else b""
    is_lowered = any(name.encode() in content for name in LOWERINGS)
    if not is_lowered and QUANTIZED.encode() not in content:
        raise ModelError(
            Problem("holds none of the operators that are lowered", file=model, allowed=", ".join(sorted(LOWERINGS)))
        )
    write_file(target, graph.graph_def().SerializeToString(deterministic=True))
    if as_json:
        print_json({"out": out, "nodes": len(graph.nodes)})
    elif not settings["quiet"]:
        click.echo(f"written to {out}: {len(graph.nodes)} nodes")
        if not is_lowered:
            click.echo("nothing had to be lowered: the file holds stock operations only, with quantized weights")
        ends = f" --outputs {','.join(graph.outputs)}" if len(graph.outputs) > 1 else ""
        say_next(f"calibrant evaluate {place(out)}{ends} --data DATA")
