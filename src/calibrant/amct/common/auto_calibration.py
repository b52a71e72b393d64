"""What an evaluator has to be able to do, and one that reads .bin files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.amct.common.cmd_line_utils.data_handler import load_data
from calibrant.data.input_spec import parse_input_shapes
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import reason_of
from calibrant.graph.tensorflow import tensorflow


class AutoCalibrationEvaluatorBase:
    """To be derived from: runs a network on calibration data, and says how good it is.

    ``outputs`` are the names that the caller of the calibration gave, as they were given. ``graph`` is a ``tf.Graph``,
    and the default graph during the call: a session opened without one runs it.
    """

    def calibration(self, graph: Any, outputs: list[str]) -> None:
        """Run ``batch_num`` batches through ``graph``, in a session of one's own."""
        raise NotImplementedError(f"{type(self).__name__} has no calibration(graph, outputs)")

    def evaluate(self, graph: Any, outputs: list[str]) -> Any:
        """The metric of a network, in whatever form ``metric_eval`` wants it."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate(graph, outputs)")

    def metric_eval(self, original_metric: Any, new_metric: Any) -> tuple[bool, float]:
        """Whether a quantized network is good enough, and what it has lost against the original."""
        raise NotImplementedError(f"{type(self).__name__} has no metric_eval(original_metric, new_metric)")


class GraphEvaluator(AutoCalibrationEvaluatorBase):
    """Calibrates with .bin data.

    Parameters
    ----------
    data_dir : Any
        Folders of .bin files, ``'dir;dir'`` or a list, in the order of the inputs.
    input_shape : Any
        ``'x:32,224,224,3;y:…'``, or a dict of tensor → shape.
    data_types : Any
        ``'float32;…'`` or a list.
    batch_num : int
        Batches to run; 1 by default.
    """

    def __init__(self, data_dir: Any, input_shape: Any, data_types: Any, batch_num: int = 1):
        self.shapes: Mapping[str, Sequence[Any]] = (
            input_shape if isinstance(input_shape, dict) else parse_input_shapes(input_shape)
        )
        self.data_dir, self.data_types, self.batch_num = data_dir, data_types, batch_num

    def calibration(self, graph: Any, outputs: list[str]) -> None:
        """Run the batches; raises DataError for data that the network cannot take."""
        tf = tensorflow()
        fetches = [nd.tensor_name(name) for name in outputs]
        shapes = {nd.tensor_name(name): shape for name, shape in self.shapes.items()}
        _check_inputs(graph, shapes)
        with tf.compat.v1.Session(graph=graph) as session:
            for feeds in load_data(shapes, self.data_dir, self.data_types, self.batch_num):
                try:
                    session.run(fetches, feeds)
                except (tf.errors.OpError, TypeError, ValueError) as error:
                    hint = "check that --input_shape names every input and gives the shape that the model expects"
                    raise DataError(Problem(f"a batch cannot be run: {reason_of(error)}", hint=hint)) from None


def _check_inputs(graph: Any, shapes: Mapping[str, Sequence[Any]]) -> None:
    names = [operation.name for operation in graph.get_operations()]
    inputs = [operation.name for operation in graph.get_operations() if operation.type == "Placeholder"]
    unknown = [name for name in shapes if nd.node_name(name) not in names]
    if unknown:
        raise DataError(
            *(
                Problem(
                    f"there is no input {nd.node_name(name)!r} in the model",
                    allowed=f"for example {', '.join(inputs)}",
                    hint=did_you_mean(nd.node_name(name), names),
                )
                for name in unknown
            )
        )
