"""Models whose nodes hold a number of samples that the shapes of their inputs leave open."""

from __future__ import annotations

from calibrant.graph.graph import Graph
from calibrant.graph.input_shapes import with_input_shapes
from calibrant.graph.sample_axis import inputs_with_samples


def with_fixed_batch(graph: Graph) -> Graph:
    """The graph whose inputs have the number of samples that it fixes; as it was where it takes others.

    Keras 3 exports a model for any number of samples, also where its layers reshape to a certain one. Then all outputs
    have that number, and shapes of inputs with another do not fit the graph. A single sample fits where it is compared
    with a constant of so many rows.
    """
    try:
        outputs = [shape for shape in map(graph.shape, graph.outputs) if shape != ()]
        inputs = {
            tensor: shape for at in inputs_with_samples(graph) if (shape := graph.shape(tensor := graph.inputs[at]))
        }
    except Exception:  # whatever TensorFlow's shape functions raise; a run says what is wrong
        return graph
    sizes = {shape[0] if shape else None for shape in outputs}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None or not inputs or any(shape[0] is not None for shape in inputs.values()):
        return graph

    def with_samples(number: int) -> Graph | None:
        return with_input_shapes(graph, {tensor: (number, *shape[1:]) for tensor, shape in inputs.items()})

    fixed = with_samples(size)
    takes_others = any(with_samples(number) is not None for number in {1, 2 * size} - {size})
    return graph if fixed is None or takes_others else fixed
