"""Which inputs of a model are samples, one after the other along their first axis."""

from __future__ import annotations

from calibrant.graph.graph import Graph


def inputs_with_samples(graph: Graph) -> frozenset[int]:
    """Positions of the inputs whose first axis counts samples.

    These are the inputs that leave it open; what others hold, such as a mask or the state of a recurrent network,
    belongs to all samples. Where no input leaves it open, the model fixes how many samples it takes, and all inputs
    with axes hold them.
    """
    shapes = dict(enumerate(map(graph.shape, graph.inputs)))
    is_open = {at for at, shape in shapes.items() if shape is None or (shape and shape[0] is None)}
    return frozenset(is_open or {at for at, shape in shapes.items() if shape})
