"""Float operations that round alike in a LiteRT file and in its simulation.

Layer norms stay in float on both sides. Two float32 kernels for one mean differ in the last bit, now and then that bit
decides a code of the next layer, and one code that differs is soon many. Sums, differences and products have the same
bits everywhere; what a layer norm needs besides is written with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes

RUNNING_SUMS = 32
SPLITTER = 2**12 + 1


def same_reciprocal_roots(edit: Edit) -> None:
    """Rewrite Rsqrt of float32 so that its bits are the same on every processor, in the file and in the simulation.

    Kernels start from the processor's own estimate. Here its leading 12 bits, in which they all agree, are taken
    (Dekker's splitting), and one Newton step, y + y (1 - x y y) / 2, makes the float32 of them: 2e-7 off at most.
    """
    for node in list(edit.nodes.values()):
        if node.op == "Rsqrt" and node.attr["T"].type == dtypes.float32.as_datatype_enum:
            _same_reciprocal_root(edit, node)


def _same_reciprocal_root(edit: Edit, node: NodeDef) -> None:
    def put(op: str, name: str, *inputs: str) -> str:
        return edit.add(op, f"{node.name}/{name}", inputs, T=dtypes.float32)

    def number(name: str, value: float) -> str:
        return edit.add_constant(f"{node.name}/{name}", np.float32(value))

    [x] = nd.data_inputs(node)
    estimate = put("Rsqrt", "estimate", x)
    wide = put("Mul", "wide", estimate, number("splitter", SPLITTER))
    leading = put("Sub", "leading", wide, put("Sub", "trailing", wide, estimate))
    near_one = put("Mul", "near_one", x, put("Mul", "square", leading, leading))
    missing = put("Mul", "missing", put("Sub", "apart", number("one", 1), near_one), number("half", 0.5))
    # A product at the end would be regrouped by TensorFlow's optimizer with the products behind it.
    inputs = [leading, put("Mul", "correction", leading, missing), *nd.control_references(node)]
    edit.put(nd.make_node("AddV2", node.name, inputs, T=dtypes.float32))


def powers_as_products(edit: Edit) -> None:
    """Rewrite squares and cubes of float32 as products, in the file and in the simulation.

    Products have the same bits everywhere; kernels for any power do not, and are many times slower.
    """
    for node in list(edit.nodes.values()):
        if node.op == "Pow" and node.attr["T"].type == dtypes.float32.as_datatype_enum:
            base = nd.data_inputs(node)[0]
            exponent = edit.graph.constant(nd.data_inputs(edit.graph.nodes[node.name])[1])
            if exponent is None or exponent.size != 1 or float(exponent.reshape(())) not in (2.0, 3.0):
                continue
            other = base
            if float(exponent.reshape(())) == 3.0:
                other = edit.add("Mul", f"{node.name}/square", [base, base], T=dtypes.float32)
            edit.put(nd.make_node("Mul", node.name, [other, base, *nd.control_references(node)], T=dtypes.float32))


def mean_in_kernel_order(value: Any, axes: np.ndarray, keep_dims: bool) -> Any:
    """A mean over the last axis as sums in the order of LiteRT's kernel; None where the order cannot be written down.

    XNNPACK's kernel for x86 processors with AVX has 32 running sums, adds them half to half, and multiplies by 1/n.
    Others have more or fewer running sums.
    """
    tf = tensorflow()
    shape = value.shape
    if axes.size != 1 or not shape.rank or int(axes.reshape(-1)[0]) % shape.rank != shape.rank - 1:
        return None
    size = shape[-1]
    if not size or value.dtype != tf.float32 or (size % RUNNING_SUMS and size & (size - 1)):
        return None
    total, left = value, min(size, RUNNING_SUMS)
    if size > left:
        total = _add_up(total, size // left)
    while left > 1:
        total = _add_up(total, 2)
        left //= 2
    mean = total * (np.float32(1) / np.float32(size))
    return mean if keep_dims else tf.squeeze(mean, [-1])


def _add_up(value: Any, count: int) -> Any:
    """The sum of ``count`` equal pieces of the last axis, one after the other."""
    pieces = tensorflow().split(value, count, axis=-1)
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return total
