"""How many multiplications with an addition each product of a graph takes for one sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import chain

from calibrant.fed_shapes import FedShapes
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import nodes_in_functions
from calibrant.graph.functions.function_shapes import function_as_graph
from calibrant.graph.functions.loop_rounds import changed_arguments, loop_rounds, origin
from calibrant.graph.graph import Graph
from calibrant.graph.input_shapes import with_fed_shapes
from calibrant.graph.other_products import REASONS, is_other_product
from calibrant.graph.tf_core import FunctionDef, NodeDef, TensorShapeProto
from calibrant.layer_kinds import KINDS

ASSUMED = 64  # without data, the size of an open axis that is not the first, where it matters
LONG = ASSUMED**3  # instead, where so few values give a product nothing to do: they make no window of a recording
FARTHEST = 100  # operations that are followed back to where the rows of a tensor come from
TRANSPOSED = frozenset({"Conv2DBackpropInput", "Conv3DBackpropInput", "Conv3DBackpropInputV2"})
NOTHING = frozenset({"AvgPool", "AvgPool3D", "Dilation2D"})

ShapeOf = Callable[[str], tuple[int | None, ...] | None]


@dataclass(frozen=True)
class ProductCounts:
    """The products of a graph.

    Parameters
    ----------
    counts : Mapping[str, int]
        Node → multiply-accumulates for one sample, in all rounds of a loop. A product in a function has the name that
        the report gives it.
    unknown : tuple[str, ...]
        Products whose number is not known.
    sizes : Mapping[str, tuple[int, ...]]
        Input key → shape that was counted with, of the inputs with open axes where it matters; not of those that leave
        only the number of samples open.
    """

    counts: Mapping[str, int]
    unknown: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]


def count_products(graph: Graph, fed: FedShapes | None = None) -> ProductCounts:
    """Count the multiply-accumulates of every product, with one sample for an open batch.

    Parameters
    ----------
    graph : Graph
        The graph.
    fed : FedShapes | None
        The sizes of open axes; without, or where these give a product nothing to do, they are :data:`ASSUMED` or
        :data:`LONG`.
    """
    products = [node for node in graph.nodes.values() if node.op in KINDS or is_other_product(node)]
    in_turn = ((each, _counts(graph, products, each.shape)) for each in _sizings(graph, products, fed))
    first = next(in_turn)
    sizing, counts = next((found for found in chain([first], in_turn) if not _has_empty(found[1], products)), first)
    known = {name: count for name, count in counts.items() if count is not None}
    return ProductCounts(known, tuple(name for name in counts if name not in known), sizing.sizes)


@dataclass(frozen=True)
class _Sizing:
    """Static shapes of all tensors, for these shapes of inputs."""

    shape: ShapeOf
    sizes: Mapping[str, tuple[int, ...]]


def _has_empty(counts: Mapping[str, int | None], products: list[NodeDef]) -> bool:
    return any(counts[node.name] == 0 for node in products if node.op not in NOTHING)


def _counts(graph: Graph, products: list[NodeDef], shape: ShapeOf) -> dict[str, int | None]:
    inside = cache(partial(_body_as_graph, graph, shape))
    counts = {
        node.name: None if graph.regions.get(node.name) == "a loop" else multiply_accumulates(node, shape)
        for node in products
    }
    for each in nodes_in_functions(graph.nodes.values(), graph.library):
        if each.node.op in KINDS or is_other_product(each.node):
            counts[each.name] = _in_function(graph, shape, each.caller, each.node, inside)
    return counts


def multiply_accumulates(node: NodeDef, shape: ShapeOf) -> int | None:
    """Of one product; None where the sizes of its tensors are not known."""
    if node.op in NOTHING:
        return 0
    tensors = nd.data_inputs(node)
    result = shape(f"{node.name}:0")
    if node.op == "MatMul" and result is not None:
        return _known(*result, _summed(node, *map(shape, tensors)))
    shapes = [known for known in map(shape, tensors) if known is not None]
    if result is None or len(shapes) < len(tensors):
        return None
    if node.op == "Einsum":
        return _of_einsum(node, shapes)
    if node.op in TRANSPOSED:
        return _known(*shapes[2], *shapes[1][:-1])
    kind = KINDS.get(node.op)
    if kind is None or node.op in REASONS:
        return None
    if not kind.channel_axes:
        first = nd.attribute(node, "transpose_a") or nd.attribute(node, "adj_x")
        return _known(*result, shapes[0][-2 if first else -1])
    window = [size for axis, size in enumerate(shapes[kind.weights.input_index]) if axis not in kind.channel_axes]
    return _known(*result, *window)


def _summed(node: NodeDef, first: nd.OpenShape | None, second: nd.OpenShape | None) -> int | None:
    """The axis that a MatMul sums over; behind a loop only the weights may say how long it is."""
    rows = first[-2 if nd.attribute(node, "transpose_a") else -1] if first else None
    columns = second[-1 if nd.attribute(node, "transpose_b") else -2] if second else None
    return rows if rows is not None else columns


def _known(*sizes: int | None) -> int | None:
    static = nd.static_shape(sizes)
    return None if static is None else math.prod(static)


def _of_einsum(node: NodeDef, shapes: list[nd.OpenShape]) -> int | None:
    equation = nd.attribute(node, "equation") or ""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if "..." in equation or [len(term) for term in terms] != [len(shape) for shape in shapes]:
        return None
    sizes = {
        label: size for term, shape in zip(terms, shapes, strict=True) for label, size in zip(term, shape, strict=True)
    }
    return _known(*sizes.values())


def _in_function(
    graph: Graph, shape: ShapeOf, caller: NodeDef, node: NodeDef, inside: Callable[[str], Graph | None]
) -> int | None:
    """All rounds for one sample of a product in the body of a loop, not of one within it."""
    rounds = loop_rounds(graph, caller)
    if rounds is None:
        return None
    body = _body(graph, caller)
    if all(other is not node for other in body.node_def):
        return None
    if node.op == "MatMul":
        weights = _shape_in_body(graph, caller, body, [name for name in node.input if not name.startswith("^")][1])
        states = [shape(nd.data_inputs(caller)[place]) for place in changed_arguments(body)]
        rows = max((sizes[0] or 1 for sizes in states if sizes is not None and len(sizes) == 2), default=1)
        if weights is not None and len(weights) == 2:
            return _known(rounds, rows, *weights)
    enclosed = inside(caller.name)
    if enclosed is None:
        return None
    return _known(rounds, multiply_accumulates(enclosed.nodes[node.name], partial(_sizes, enclosed)))


def _body(graph: Graph, loop: NodeDef) -> FunctionDef:
    return next(each for each in graph.library.function if each.signature.name == loop.attr["body"].func.name)


def _body_as_graph(graph: Graph, shape: ShapeOf, loop: str) -> Graph | None:
    """With shapes as long as no argument grows from round to round; the first axis may be the batch."""
    caller = graph.nodes[loop]
    given = [shape(tensor) for tensor in nd.data_inputs(caller)]
    declared = caller.attr["output_shapes"].list.shape if "output_shapes" in caller.attr else ()
    if len(declared) == len(given):
        given = list(map(_kept_sizes, given, declared))
    return function_as_graph(graph, _body(graph, caller), given)


def _kept_sizes(given: nd.OpenShape | None, declared: TensorShapeProto) -> nd.OpenShape | None:
    """What a loop is given at first, less the sizes behind the first axis that may be others in later rounds."""
    if given is None or declared.unknown_rank or len(declared.dim) != len(given):
        return None
    return tuple(
        size if not axis or dim.size >= 0 else None
        for axis, (size, dim) in enumerate(zip(given, declared.dim, strict=True))
    )


def _shape_in_body(
    graph: Graph, caller: NodeDef, function: FunctionDef, reference: str
) -> tuple[int | None, ...] | None:
    """Shape of a constant, or of what the loop is given."""
    nodes = {node.name: node for node in function.node_def}
    name = origin(nodes, reference)
    if name in nodes:
        is_constant = nodes[name].op == "Const"
        return tuple(dim.size for dim in nodes[name].attr["value"].tensor.tensor_shape.dim) if is_constant else None
    arguments = [argument.name for argument in function.signature.input_arg]
    return graph.shape(nd.data_inputs(caller)[arguments.index(name)]) if name in arguments else None


def _sizings(graph: Graph, products: list[NodeDef], fed: FedShapes | None) -> Iterator[_Sizing]:
    """With one sample; inferred again where axes are open, as the first may hold several rows of each.

    With the sizes of the data if there are any. Next with assumed ones, then with long axes behind the first, and last
    with the first as a long one.
    """
    open_axes = any(
        None in (graph.shape(tensor) or (None,))
        for node in products
        for tensor in (f"{node.name}:0", *nd.data_inputs(node))
    )
    fits = False
    for each in _in_turn(graph, fed) if open_axes else ():
        closed = with_fed_shapes(graph, each)
        if closed is not None:
            fits = True
            yield _Sizing(partial(_sizes, closed), _closed_sizes(graph, closed))
    if not fits:
        yield _Sizing(partial(_sizes, graph), {})


def _in_turn(graph: Graph, fed: FedShapes | None) -> Iterator[FedShapes]:
    if fed is not None:
        yield fed
    ranks = {key: len(graph.shape(tensor) or ()) for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)}
    for first, others in ((1, ASSUMED), (1, LONG), (LONG, ASSUMED)):
        yield {key: (first, *[others] * (rank - 1))[:rank] for key, rank in ranks.items()}


def _closed_sizes(graph: Graph, closed: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs that have them of what they are fed with, other than those of any number of samples."""
    found: dict[str, tuple[int, ...]] = {}
    for key, tensor in zip(graph.input_keys, graph.inputs, strict=True):
        before, shape = graph.shape(tensor), nd.static_shape(closed.shape(tensor) or (None,))
        if before is not None and shape is not None and before != shape and (None in before[1:] or shape[0] != 1):
            found[key] = shape
    return found


def _sizes(graph: Graph, tensor: str) -> tuple[int | None, ...] | None:
    """Of one sample."""
    sizes = graph.shape(tensor)
    return sizes if not sizes or sizes[0] is not None else (_rows(graph, tensor), *sizes[1:])


def _rows(graph: Graph, tensor: str) -> int | None:
    """The first axis for one sample: several where other axes were joined to it, as behind a loop over a sequence."""
    rows = Fraction(1)
    for _ in range(FARTHEST):
        node, sizes = graph.producer(tensor), graph.shape(tensor)
        read = nd.data_inputs(node)
        before = graph.shape(read[0]) if read else None
        if sizes is None or not before:
            break
        if node.op == "Reshape":
            joined, kept = _known(*before[1:]), _known(*sizes[1:])
            if not joined or not kept:
                return None
            rows *= Fraction(joined, kept)
        elif before != sizes and (node.op != "MatMul" or nd.attribute(node, "transpose_a")):
            break
        if before[0] is not None:
            rows *= before[0]
            break
        tensor = read[0]
    return rows.numerator if rows.denominator == 1 else 1
