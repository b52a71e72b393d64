"""One network for each thing that a LiteRT file has to hold or to refuse, and how the file is checked."""

from __future__ import annotations

import json

import numpy as np

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.simulation.simulate import between_node
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.logits import before_softmax
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf


def image(*shape):
    return placeholder([None, *(shape or (8, 8, 4))])


def depthwise(multiplier):
    weights = tf.constant(numbers(3, 3, 4, multiplier, seed=3, scale=0.4), name="dw/weights")
    return tf.nn.depthwise_conv2d(image(), weights, [1, 1, 1, 1], "SAME", name="dw")


def transposed():
    weights = tf.constant(numbers(3, 3, 5, 4, seed=3, scale=0.3), name="up/weights")
    x = placeholder([2, 4, 4, 4])
    return tf.nn.conv2d_transpose(x, weights, [2, 8, 8, 5], 2, "SAME", name="up")


def conv3d():
    weights = tf.constant(numbers(2, 3, 3, 2, 3, seed=3), name="c3/weights")
    return tf.nn.conv3d(placeholder([None, 4, 6, 6, 2]), weights, [1, 1, 1, 1, 1], "SAME", name="c3")


def open_volume():
    weights = tf.constant(numbers(2, 3, 3, 2, 3, seed=3), name="c3/weights")
    return tf.nn.conv3d(placeholder([None, None, 6, 6, 2]), weights, [1, 1, 1, 1, 1], "SAME", name="c3")


def residual():
    y = tf.nn.relu(conv(image(), name="one"))
    z = conv(y, name="two", seed=4)
    return conv(tf.nn.relu(z + y), name="three", seed=6)


def concatenated():
    y = tf.nn.relu(conv(image(), name="one"))
    padded = tf.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]])
    pooled = tf.nn.max_pool2d(padded, 3, 1, "VALID")
    return conv(tf.concat([pooled, tf.nn.relu(conv(y, name="two", seed=4))], 3), name="three", seed=6)


def global_average():
    y = tf.nn.relu(conv(image(), name="one"))
    return dense(tf.reshape(tf.nn.avg_pool2d(y, 8, 8, "VALID", name="pool"), [-1, 4]))


def global_mean():
    return dense(tf.reduce_mean(tf.nn.relu(conv(image(), name="one")), [1, 2]))


def local_average():
    y = tf.nn.relu6(conv(image(), name="one"))
    return conv(tf.nn.avg_pool2d(y, 2, 2, "SAME", name="pool"), name="two", seed=4)


def one_of_two_equal_layers():
    """The converter makes one operator of both."""
    x, weights = image(), tf.constant(numbers(3, 3, 4, 4, seed=1, scale=0.3))
    one, two = (tf.nn.conv2d(x, weights, 1, "SAME", name=name) for name in ("one", "two"))
    return conv(tf.nn.relu(one), name="three", seed=4) + two


def constant_batch_product():
    weights = tf.constant(numbers(6, 5, seed=3), name="bmm/weights")
    return tf.raw_ops.BatchMatMulV2(x=placeholder([None, 3, 6]), y=weights, name="bmm")


def attention():
    x = placeholder([None, 6, 8])
    left = dense(tf.reshape(x, [-1, 8]), 8, "left")
    right = dense(tf.reshape(x, [-1, 8]), 8, "right", seed=5)
    product = tf.matmul(tf.reshape(left, [-1, 6, 8]), tf.reshape(right, [-1, 8, 6]), name="scores")
    return tf.matmul(tf.nn.softmax(product * 0.1), tf.reshape(right, [-1, 6, 8]), name="context")


def token():
    """A constant that is put in front of int8 rows, and a constant added to all of them."""
    rows = tf.reshape(dense(tf.reshape(placeholder([None, 6, 8]), [-1, 8]), 8, "rows"), [-1, 6, 8])
    first = tf.tile(tf.constant(numbers(1, 1, 8, seed=9)), [tf.shape(rows)[0], 1, 1])
    y = tf.concat([first, rows], 1) + tf.constant(numbers(7, 8, seed=8, scale=0.05))
    z = tf.reshape(dense(tf.reshape(y, [-1, 8]), 8, "mixed", seed=6), [-1, 7, 8])
    return dense(tf.reshape(tf.tanh(y + z) + (y + z), [-1, 56]), 5, "last", seed=7)


def clipped():
    return conv(
        tf.raw_ops.ClipByValue(t=conv(image(), name="one"), clip_value_min=-1.0, clip_value_max=2.0), name="two"
    )


def dilated():
    return conv(image(), name="one", dilations=2)


def grouped():
    parts = tf.split(tf.nn.relu(conv(image(), 4, name="one")), 2, 3)
    return tf.concat([conv(part, 2, name=f"part{i}", seed=i + 7) for i, part in enumerate(parts)], 3)


def ends_in_softmax():
    return tf.nn.softmax(dense(tf.reshape(conv(image(), name="one"), [-1, 256]), 10))


NETWORKS = {
    "conv": lambda: conv(image(), name="one"),
    "depthwise": lambda: depthwise(1),
    "depthwise, multiplier 2": lambda: depthwise(2),
    "transposed": transposed,
    "residual": residual,
    "concatenated": concatenated,
    "global average": global_average,
    "global mean": global_mean,
    "local average": local_average,
    "constant batch product": constant_batch_product,
    "attention": attention,
    "token": token,
    "clipped": clipped,
    "dilated": dilated,
    "grouped": grouped,
    "softmax": ends_in_softmax,
    "conv3d": conv3d,
}


def model_of(build):
    """The GraphDef of what a function adds, with its result as ``out``."""
    return graph_def(lambda: tf.identity(build(), name="out"))


def definition(name):
    return model_of(NETWORKS[name])


def exported(model, config="batch_num: 4", count=32, **options):
    """The result of an export, and inputs like those it was calibrated with."""
    graph = load(model)
    shape = graph.shape(graph.inputs[0])
    x = numbers(shape[0] or count, *(size or 4 for size in shape[1:]), seed=11)
    data = [{graph.input_keys[0]: numbers(*x.shape, seed=20 + index)} for index in range(4)]
    return calibrant.quantize(model, config=config, data=data, export="tflite", **options), x


def read_as_made(file, operator):
    """Whether an operator reads codes which have the scale of the kernel that makes them, and not the layer's."""
    makers = {made.index: each.name for each in file.operators() for made in each.outputs}
    return makers.get(operator.inputs[0].index) in ("L2_NORMALIZATION", "LOGISTIC", "SOFTMAX", "TANH")


def contents(result, outputs=None):
    """The .tflite file's bytes, and the graph that simulates it."""
    from tensorflow.core.framework.graph_pb2 import GraphDef

    tflite = next(value for name, value in result.exported.items() if name.endswith("_int8.tflite"))
    simulation = next(value for name, value in result.exported.items() if name.endswith("_int8_fakequant.pb"))
    return tflite, load(GraphDef.FromString(simulation), outputs and result.network.graph.inputs, outputs)


def computed(result, x):
    """The outputs of the file and those of the simulation, and the names of the file's operators."""
    content, simulation = contents(result, result.export_notes["tflite"]["simulation_outputs"])
    runner = TfliteRunner(content)
    runner.run({0: x})
    made = [runner.real(tensor) for tensor in runner.file.outputs()]
    names = {each.name for each in File(content).operators()}
    return made, run_once(simulation, dict.fromkeys(simulation.input_keys, x)), names


def layer_operators(result):
    """Layer → the operator of the file that runs it, by the node map."""
    [content] = [value for name, value in result.exported.items() if name.endswith("_int8_quant.json")]
    by_tensor = {operator.outputs[0].name: operator for operator in File(contents(result)[0]).operators()}
    stands_for = {}
    for entry in json.loads(content)["graph"][0]["op"]:
        for attribute in entry["attr"]:
            for name in attribute["value"]["list"]["s"]:
                if entry["type"] != "Placeholder":
                    stands_for.setdefault(name, by_tensor[entry["name"]])
    layers = {layer.layer.name for layer in result.network.layers}
    return {name: operator for name, operator in stands_for.items() if name in layers}


def steps_apart(result, x):
    """|file - simulation| in steps of the file's output, all values; and the file."""
    tflite, simulation = contents(result)
    runner = TfliteRunner(tflite)
    runner.run({0: x})
    point = runner.points[0]
    fetch = f"{between_node(point)}:0" if point.scale.size else before_softmax(simulation, simulation.outputs[0])
    [wanted] = run_once(simulation, {simulation.input_keys[0]: x}, [fetch])
    step = float(point.scale[0]) if point.scale.size else 1e-5
    return np.abs(runner.real(point).reshape(-1).astype(np.float64) - wanted.reshape(-1)) / step, File(tflite)
