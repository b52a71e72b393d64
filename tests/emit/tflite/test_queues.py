"""Operators without results, as those of a queue, in a file from which marks are taken."""

from types import SimpleNamespace

from calibrant.emit.tflite.conversion.marks import take_out_marks
from calibrant.graph.reading.load import load
from graphs import dense, graph_def, placeholder, tf


def test_an_operator_without_results_is_kept():
    graph = load(graph_def(lambda: tf.identity(dense(placeholder([1, 8])), name="out")))
    push = SimpleNamespace(name="FlexQueueEnqueueV2", outputs=(), raw=SimpleNamespace(inputs=[0, 1]))
    kept = []
    file = SimpleNamespace(
        operators=lambda: [push],
        outputs=lambda: [SimpleNamespace(index=2)],
        set_operators=kept.extend,
        set_outputs=list,
        model=SimpleNamespace(subgraphs=[SimpleNamespace(outputs=[2])]),
    )
    assert take_out_marks(file, graph, {}) == {}
    assert kept == [push.raw] and push.raw.inputs == [0, 1]
