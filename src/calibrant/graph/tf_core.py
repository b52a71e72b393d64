"""TensorFlow's own types for graphs. Import them from here: it first makes sure that there is a TensorFlow."""

from calibrant.graph.tensorflow import tensorflow

tensorflow()

from tensorflow.core.framework.attr_value_pb2 import AttrValue  # noqa: E402
from tensorflow.core.framework.function_pb2 import FunctionDef, FunctionDefLibrary  # noqa: E402
from tensorflow.core.framework.graph_pb2 import GraphDef  # noqa: E402
from tensorflow.core.framework.node_def_pb2 import NodeDef  # noqa: E402
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto  # noqa: E402
from tensorflow.core.framework.variable_pb2 import VariableDef  # noqa: E402
from tensorflow.core.framework.versions_pb2 import VersionDef  # noqa: E402
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo  # noqa: E402
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: E402
from tensorflow.core.protobuf.saver_pb2 import SaverDef  # noqa: E402
from tensorflow.python.framework import dtypes, op_def_registry, tensor_util  # noqa: E402

__all__ = [
    "AttrValue",
    "FunctionDef",
    "FunctionDefLibrary",
    "GraphDef",
    "MetaGraphDef",
    "NodeDef",
    "SavedModel",
    "SaverDef",
    "SignatureDef",
    "TensorInfo",
    "TensorShapeProto",
    "VariableDef",
    "VersionDef",
    "dtypes",
    "op_def_registry",
    "tensor_util",
]
