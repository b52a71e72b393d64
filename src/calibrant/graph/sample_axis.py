"""Which inputs of a model are samples, one after the other along their first axis."""

from __future__ import annotations

from calibrant.graph.added_axis import is_one_sample
from calibrant.graph.graph import Graph


def inputs_with_samples(graph: Graph) -> frozenset[int]:
    """Positions of the inputs whose first axis counts samples.

    These are the inputs that leave it open; what others hold, such as a mask or the state of a recurrent network,
    belongs to all samples. Where no input leaves it open, the model fixes how many samples it takes, and all inputs
    with axes hold them. An input that is one sample has no such axis.
    """
    shapes = {at: graph.shape(each) for at, each in enumerate(graph.inputs) if not is_one_sample(graph, each)}
    is_open = {at for at, shape in shapes.items() if shape is None or (shape and shape[0] is None)}
    return frozenset(is_open or {at for at, shape in shapes.items() if shape})


def takes_one_sample(graph: Graph) -> bool:
    """Whether the model fixes that it takes one sample at a time, so that nothing in it depends on others."""
    shapes = [shape for shape in map(graph.shape, graph.inputs) if shape != ()]
    return bool(shapes) and all(shape is not None and shape[0] == 1 for shape in shapes)
