"""Where to cut a graph so that calibration data can be fed: after decoding, word look-up and random operations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.added_axis import is_one_sample
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.other_products import TABLES as ROW_LOOKUPS
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import KINDS

TABLES = frozenset({"AnonymousHashTable", "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2"})
MOST_OTHERS = 3
MOST_NAMES = 8
"""Tensors to be fed instead of the one that they all lead to."""


def unfeedable(graph: Graph) -> list[Problem]:
    """A problem for each input that takes text or encoded bytes and each table, with the cut that helps."""
    problems: list[Problem] = []
    strings = [name for name in graph.input_nodes if graph.dtype(f"{name}:0").name == "string"]
    tables = [node.name for node in graph.nodes.values() if node.op in TABLES or is_handle(node)]
    if not strings and not tables:
        return problems
    hint = cut_hint(graph, [*strings, *tables])
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


def check_feedable(graph: Graph) -> None:
    """Calibration data can be fed to the graph.

    Raises
    ------
    ModelError
        An input takes strings, or a table is needed; with the cut that helps.
    """
    problems = unfeedable(graph)
    if problems:
        raise ModelError(*problems)


def cut_hint(graph: Graph, sources: Collection[str]) -> str:
    """What to write so that nodes are cut off."""
    places = [place for place in narrow_places(graph, sources) if not loses_layers(graph, place)]
    places.sort(key=partial(_preference, graph))
    floats = [place for place in places if graph.dtype(place).is_floating]
    chosen = (floats or places)[:1]
    outside = table_upstream(graph, chosen[0]) if chosen else None
    if outside is not None or not chosen:
        chosen = _indices(graph, sources, places) or chosen or list(first_numbers(graph, sources))
    if not chosen:
        return "name tensors after it with --inputs; inspect --nodes lists them"
    lost = table_upstream(graph, chosen[0])
    others = (place for place in places if place not in chosen and (lost or table_upstream(graph, place) is None))
    named = ", ".join(map(nd.input_reference, islice(others, MOST_OTHERS)))
    also = f" (or {named})" if named else ""
    left = f"; the table of {lost!r} and its like are then outside of the model" if lost is not None else ""
    return f"feed what is made of it: {inputs_option(graph, chosen)}{also}{left}"


def table_upstream(graph: Graph, place: str) -> str | None:
    """What looks up rows of a trained table upstream of a tensor, so that the table is gone with a cut there."""
    upstream = ordered(graph.nodes, [place]).values()
    return next((node.name for node in upstream if node.op in ROW_LOOKUPS and _reads_table(graph, node)), None)


def _reads_table(graph: Graph, node: NodeDef) -> bool:
    table = nd.data_inputs(node)[0]
    return graph.dtype(table).is_floating and graph.constant_source(table) is not None


def _indices(graph: Graph, sources: Collection[str], places: Sequence[str]) -> list[str]:
    """The last common tensor of numbers upstream of all trained tables, or a few first ones; [] without any."""
    common = [place for place in places if table_upstream(graph, place) is None]
    found = common[-1:] or list(first_numbers(graph, sources))
    return found if len(found) <= MOST_NAMES and all(table_upstream(graph, each) is None for each in found) else []


def _preference(graph: Graph, place: str) -> int:
    """What is there to be fed comes first, and one sample without an axis for others last."""
    if graph.producer(place).op == "PlaceholderWithDefault":
        return 0
    return 2 if is_one_sample(graph, place) else 1


def loses_layers(graph: Graph, place: str) -> bool:
    """Whether a layer is upstream of a tensor, so that it is gone where the graph is cut there."""
    return any(node.op in KINDS for node in ordered(graph.nodes, [place]).values())


def inputs_option(graph: Graph, cut: Sequence[str]) -> str:
    """What to write so that a graph is fed at some tensors, and at its inputs as far as they are needed besides."""
    nodes = {name: nd.copy_node(node, nd.data_inputs(node)) for name, node in graph.nodes.items()}
    for tensor in cut:
        name = nd.node_name(tensor)
        if set(graph.read_outputs(name)) <= {nd.split_tensor(other)[1] for other in cut if nd.node_name(other) == name}:
            nodes[name] = nd.make_node("Placeholder", name, [])
    needed = ordered(nodes, graph.outputs)
    cut = [tensor for tensor in cut if nd.node_name(tensor) in needed]
    cut_names = {nd.node_name(tensor) for tensor in cut}
    others = [name for name in graph.input_nodes if name in needed and name not in cut_names]
    return f"--inputs {','.join(map(nd.input_reference, (*cut, *sorted(others))))}"


def first_numbers(graph: Graph, sources: Collection[str]) -> tuple[str, ...]:
    """The first tensors of numbers on every way from some nodes to the outputs; () where there is a way without one."""
    tainted: set[str] = set()
    found = []
    for name, node in graph.nodes.items():
        is_source = name in sources
        if not is_source and tainted.isdisjoint(nd.data_inputs(node)):
            continue
        for index in graph.read_outputs(name):
            tensor = f"{name}:{index}"
            if not is_source and _has_numbers(graph, tensor):
                found.append(tensor)
            else:
                tainted.add(tensor)
        if any(nd.node_name(tensor) == name for tensor in graph.outputs):
            return ()
    return tuple(found)


def narrow_places(graph: Graph, sources: Collection[str]) -> Iterator[str]:
    """The tensors of numbers that everything which depends on some nodes goes through, first to last."""
    positions = {name: place for place, name in enumerate(graph.nodes)}
    tainted: set[str] = set()
    ahead = {name for name in sources if name in graph.nodes}
    furthest = -1
    for name, node in graph.nodes.items():
        if name not in sources and not any(nd.node_name(tensor) in tainted for tensor in nd.data_inputs(node)):
            continue
        is_source = name in sources
        ahead.discard(name)
        alone = not is_source and not ahead and furthest == positions[name] and name not in graph.output_nodes
        tainted.add(name)
        outputs = graph.read_outputs(name)
        if alone and outputs == (0,) and _has_numbers(graph, f"{name}:0") and not graph.output_nodes & tainted:
            yield f"{name}:0"
        readers = [positions[reader.name] for index in outputs for reader, _ in graph.consumers(f"{name}:{index}")]
        furthest = max([furthest, *readers])


def _has_numbers(graph: Graph, tensor: str) -> bool:
    dtype = graph.dtype(tensor)
    return graph.shape(tensor) != () and (dtype.is_floating or dtype.is_integer)
