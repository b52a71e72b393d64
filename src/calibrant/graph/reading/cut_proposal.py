"""Where to cut a graph so that calibration data can be fed: after decoding, word look-up and random operations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.added_axis import is_one_sample
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.other_products import TABLES as GATHERS
from calibrant.graph.reading.first_numbers import FirstNumbers, first_numbers
from calibrant.graph.reading.narrow_places import loses_layers, narrow_places
from calibrant.graph.reading.sparse_rows import SEGMENT_LOOKUPS
from calibrant.graph.tf_core import NodeDef, dtypes

TABLES = frozenset({"AnonymousHashTable", "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2"})
MOST_OTHERS = 3
_NO_PROPOSAL = "name tensors after it with --inputs; inspect --nodes lists them"
MOST_NAMES = 8
"""Tensors to be fed instead of the one that they all lead to."""


def unfeedable(graph: Graph, besides: Collection[str] = ()) -> list[Problem]:
    """A problem for each input that takes text or encoded bytes and each table, with the cut that helps.

    Parameters
    ----------
    besides : Collection[str]
        Nodes that are no problem here, and have to be cut off as well.
    """
    problems: list[Problem] = []
    strings = [name for name in graph.input_nodes if graph.dtype(f"{name}:0").name == "string"]
    tables = [node.name for node in graph.nodes.values() if node.op in TABLES or is_handle(node)]
    if not strings and not tables:
        return problems
    hint = cut_hint(graph, [*strings, *tables, *besides])
    for name in sorted(strings):
        message = "takes text or encoded bytes (such as a JPEG or WAV file), which cannot be calibration data"
        problems.append(Problem(message, file=graph.source, path=name, hint=hint))
    for name in tables:
        problems.append(
            Problem("is a lookup table, whose content is not in the graph", file=graph.source, path=name, hint=hint)
        )
    return problems


def is_handle(node: NodeDef) -> bool:
    """Whether a node stands for something that lives outside the graph, as a lookup table does."""
    return node.op == "Placeholder" and nd.attribute(node, "dtype") == dtypes.resource


def check_feedable(graph: Graph, besides: Collection[str] = ()) -> None:
    """Calibration data can be fed to the graph.

    Parameters
    ----------
    besides : Collection[str]
        Nodes that the cut has to leave out as well.

    Raises
    ------
    ModelError
        An input takes strings, or a table is needed; with the cut that helps.
    """
    problems = unfeedable(graph, besides)
    if problems:
        raise ModelError(*problems)


def cut_hint(graph: Graph, sources: Collection[str]) -> str:
    """What to write so that nodes are cut off."""
    without = first_numbers(graph, sources).outputs
    if not without:
        return _feed(graph, sources)
    keys = dict(zip(graph.outputs, graph.output_keys or map(nd.input_reference, graph.outputs), strict=True))
    kept = [tensor for tensor in graph.outputs if tensor not in without]
    if not kept:
        return _NO_PROPOSAL
    part = _ending_at(graph, kept)
    option = f"--outputs {','.join(keys[tensor] for tensor in kept)}"
    named = ", ".join(keys[tensor] for tensor in without)
    left = [name for name in sources if name in part.nodes]
    if not left:
        return f"leave out {named}, which alone needs it: {option}"
    return _feed(part, left, f" {option}") + f"; {named} is left out"


def _ending_at(graph: Graph, outputs: Sequence[str]) -> Graph:
    """What some of the outputs need of a graph."""
    nodes = ordered(graph.nodes, outputs)
    inputs = {
        tensor: key for tensor, key in zip(graph.inputs, graph.input_keys, strict=True) if nd.node_name(tensor) in nodes
    }
    return replace(graph, nodes=nodes, inputs=tuple(inputs), input_keys=tuple(inputs.values()), outputs=tuple(outputs))


def _feed(graph: Graph, sources: Collection[str], option: str = "") -> str:
    """What to write so that nodes from which all outputs are made through numbers are cut off."""
    numbers = first_numbers(graph, sources)
    places = [place for place in narrow_places(graph, sources) if not loses_layers(graph, place)]
    places.sort(key=partial(_preference, graph))
    floats = [place for place in places if graph.dtype(place).is_floating]
    chosen = (floats or places)[:1]
    if not chosen or table_upstream(graph, chosen[0]) is not None:
        chosen = _indices(graph, numbers, places) or chosen or list(numbers.tensors)
    if not chosen:
        return _NO_PROPOSAL + option
    lost = next(filter(None, (table_upstream(graph, place) for place in chosen)), None)
    others = (place for place in places if place not in chosen and (lost or table_upstream(graph, place) is None))
    named = ", ".join(map(nd.input_reference, islice(others, MOST_OTHERS)))
    also = f" (or {named})" if named else ""
    left = f"; the table of {lost!r} and its like are then outside of the model" if lost is not None else ""
    sparse = [tensor for tensor in chosen if tensor in numbers.sparse]
    rows = f"; rows of {nd.input_reference(sparse[0])} are not samples: give batches from Python" if sparse else ""
    return f"feed what is made of it: {inputs_option(graph, chosen)}{option}{also}{left}{rows}"


def table_upstream(graph: Graph, place: str) -> str | None:
    """What looks up rows of a trained table upstream of a tensor, so that the table is gone with a cut there."""
    upstream = ordered(graph.nodes, [place]).values()
    return next(
        (node.name for node in upstream if node.op in GATHERS | SEGMENT_LOOKUPS and _reads_table(graph, node)), None
    )


def _reads_table(graph: Graph, node: NodeDef) -> bool:
    table = nd.data_inputs(node)[0]
    return graph.dtype(table).is_floating and graph.constant_source(table) is not None


def _indices(graph: Graph, numbers: FirstNumbers, places: Sequence[str]) -> list[str]:
    """The last common tensor of numbers upstream of all trained tables, or a few first ones; [] without any."""
    common = [place for place in places if table_upstream(graph, place) is None]
    found = common[-1:] or list(numbers.tensors)
    return found if len(found) <= MOST_NAMES and all(table_upstream(graph, each) is None for each in found) else []


def _preference(graph: Graph, place: str) -> int:
    """What is there to be fed comes first, and one sample without an axis for others last."""
    if graph.producer(place).op == "PlaceholderWithDefault":
        return 0
    return 2 if is_one_sample(graph, place) else 1


def inputs_option(graph: Graph, cut: Sequence[str]) -> str:
    """What to write so that a graph is fed at some tensors, and at its inputs as far as they are needed besides."""
    uncut = {
        name: nd.copy_node(node, [tensor for tensor in nd.data_inputs(node) if tensor not in cut])
        for name, node in graph.nodes.items()
    }
    needed = ordered(uncut, [tensor for tensor in graph.outputs if tensor not in cut])
    read = {tensor for name in needed for tensor in nd.data_inputs(graph.nodes[name])}
    read.update(graph.outputs)
    fed = [tensor for tensor in cut if tensor in read]
    others = sorted(tensor for tensor in graph.inputs if nd.node_name(tensor) in needed)
    return f"--inputs {','.join(map(nd.input_reference, (*fed, *others)))}"
