"""How far the search for constants to divide goes."""

from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.tensorflow import tensorflow
from calibrant.steps.balancing import scale_propagation
from calibrant.steps.balancing.scale_propagation import HOMOGENEOUS, input_layout, inputs_to_divide
from graphs import numbers


def test_what_another_layer_reads_ends_the_search_at_once(monkeypatch):
    tf, asked = tensorflow(), []
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        for block in range(12):
            made = tf.nn.relu(tf.matmul(x, tf.constant(numbers(4, 4, seed=block)), name=f"dense{block}"))
            x = made * numbers(4, seed=100 + block) + x
        tf.matmul(x, tf.constant(numbers(4, 4, seed=50)), name="end")
    model = load(graph.as_graph_def(), outputs=["end"])
    layers = {layer.name: layer for layer in find_layers(model)[0]}
    alternatives = scale_propagation._alternatives

    def counted(graph, tensor, *others):
        asked.append(tensor)
        return alternatives(graph, tensor, *others)

    monkeypatch.setattr(scale_propagation, "_alternatives", counted)
    layout = input_layout(model, layers["end"], 4)
    assert inputs_to_divide(model, ("end", 0), layout, layers, HOMOGENEOUS) is None
    assert len(asked) <= 10  # two of the sum in front, and a few of the products before it
