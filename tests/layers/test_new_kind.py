"""A new kind of layer is one row of the table: everything else asks the row."""

import subprocess
import sys

ONE_ROW = """
from calibrant.layer_kinds import KINDS, LayerKind

KINDS["Conv3DBackpropInputV2"] = LayerKind((2,), 1, (3,), 4, spatial=3, rank=5, transposed=True)

import numpy as np
import calibrant
from graphs import graph_def, numbers, placeholder, tf


def network():
    x = placeholder([None, 2, 4, 4, 3], "x")
    up = tf.nn.conv3d_transpose(x, tf.constant(numbers(1, 2, 2, 5, 3)), [2, 2, 8, 8, 5], [1, 1, 2, 2, 1], name="up")
    tf.nn.relu(tf.nn.bias_add(up, tf.constant(numbers(5))) * 0.5, name="out")


CONFIG = 'override_layer_types { layer_type : "Conv3DBackpropInputV2" calibration_config { hfmg_quantize {} } }'
data = numbers(2, 2, 4, 4, 3)
result = calibrant.quantize(graph_def(network), CONFIG, data, batch_size=2, export="ascend")
(layer,) = result.network.layers
print(layer.layer.name, layer.layer.type, layer.weights.scale.size, layer.bias is not None, *map(str, result.exported))
"""


def test_a_kind_is_added_in_one_row(repository):
    done = subprocess.run(
        [sys.executable, "-c", ONE_ROW], cwd=repository / "tests", capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[:4] == ["up", "Conv3DBackpropInputV2", "5", "True"], done.stderr
    assert any(name.endswith("_quantized.pb") for name in done.stdout.split())
