"""Function calls inlined, as far as TensorFlow can."""

from __future__ import annotations

from collections.abc import Container, Sequence

from calibrant.graph.pieces import whole
from calibrant.graph.tensorflow import quiet, tensorflow
from calibrant.graph.tf_core import FunctionDef, GraphDef, NodeDef

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
SELECTS_BOXES = b"non_max_suppression_padded_v2"
"""What the function of ``tf.image.non_max_suppression_padded`` says that it implements."""
BOXES_OF_ONE_IMAGE = 2  # axes

_STATELESS = {"Case": "StatelessCase", "If": "StatelessIf", "While": "StatelessWhile"}


def inline_calls(graph_def: GraphDef, fetches: Sequence[str]) -> GraphDef:
    """The graph that the fetched tensors need, (Stateful)PartitionedCalls inlined; loops and branches stay functions.

    Grappler's function optimizer does it, alone, on the GraphDef: nothing is registered in the process, so that a
    function of the same name that is alive there does no harm. Where it cannot inline, the graph comes back as it was.

    The selection of boxes of one image stays a call, where it is in no loop or branch. So does one whose loops or
    branches have state that nothing waits for, such as random numbers: these are then called stateless.
    """
    stay = _selecting(graph_def)
    result = _inlined(graph_def, fetches, stay)
    if any(_calls(node, stay) for function in result.library.function for node in function.node_def):
        stay = frozenset()
        result = _inlined(graph_def, fetches, stay)
    left = [node for node in result.node if node.op in CALLS and not _calls(node, stay)]
    if left and result is not graph_def:
        again = GraphDef()
        again.CopyFrom(result)
        for function in again.library.function:
            for node in function.node_def:
                node.op = _STATELESS.get(node.op, node.op)
        result = _inlined(again, fetches, stay)
    return result


def selects_boxes_of_one_image(function: FunctionDef) -> bool:
    """Whether a function is one operator of LiteRT, and hundreds of them inlined."""
    if "_implements" not in function.attr or function.attr["_implements"].s != SELECTS_BOXES:
        return False
    shapes = list(function.attr["_input_shapes"].list.shape) if "_input_shapes" in function.attr else []
    return bool(shapes) and not shapes[0].unknown_rank and len(shapes[0].dim) == BOXES_OF_ONE_IMAGE


def _selecting(graph_def: GraphDef) -> frozenset[str]:
    return frozenset(each.signature.name for each in graph_def.library.function if selects_boxes_of_one_image(each))


def _calls(node: NodeDef, functions: Container[str]) -> bool:
    return node.op in CALLS and node.attr["f"].func.name in functions


def _unoptimized() -> bytes:
    """Settings of a call that runs its function as it is: the optimizer complains of branches of this one."""
    from tensorflow.core.protobuf.config_pb2 import ConfigProto

    config = ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return bytes(config.SerializeToString(deterministic=True))


def _inlined(graph_def: GraphDef, fetches: Sequence[str], stay: Container[str]) -> GraphDef:
    tf = tensorflow()
    from tensorflow.core.protobuf.config_pb2 import ConfigProto
    from tensorflow.python.grappler import tf_optimizer

    config = ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.append("function")
    try:
        with quiet(), tf.Graph().as_default() as imported:
            tf.graph_util.import_graph_def(_prepared(graph_def, stay), name="")
            meta_graph = tf.compat.v1.train.export_meta_graph(graph=imported, clear_extraneous_savers=True)
        meta_graph.collection_def["train_op"].node_list.value.extend(fetches)
        return tf_optimizer.OptimizeGraph(config, meta_graph)
    except (ValueError, KeyError, tf.errors.OpError):
        return graph_def


def _prepared(graph_def: GraphDef, stay: Container[str]) -> GraphDef:
    """The graph without what keeps calls of other functions from being inlined, and loops from staying functions.

    Keras 3 marks grouped convolutions to be compiled by XLA; without that they give the same numbers up to rounding.
    Keras 2 marks its LSTM and GRU so that a device may choose another implementation.
    """
    result = GraphDef(library=graph_def.library, versions=graph_def.versions)
    result.node.extend(whole(node) for node in graph_def.node)
    for function in result.library.function:
        for key in ("_XlaMustCompile", "_noinline", "api_implements"):
            function.attr.pop(key, None)
        if function.signature.name in stay:
            function.attr["_noinline"].b = function.attr["_nospecialize"].b = True
    for nodes in (result.node, *(function.node_def for function in result.library.function)):
        for node in nodes:
            for key in ("_XlaMustCompile", "_noinline", "_lower_using_switch_merge"):
                node.attr.pop(key, None)
            if _calls(node, stay):
                node.attr["config_proto"].s = _unoptimized()
    return result
