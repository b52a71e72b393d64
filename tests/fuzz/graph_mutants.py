"""Damaged graphs go through load, fold and plan, and some through quantize; each is taken or one error.

As a program it tries mutants FIRST ... STOP, writes the number of each before it tries it, and prints a line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
from verdict import verdict_of

import calibrant
from calibrant.graph.tf_core import GraphDef, dtypes
from calibrant.options import ModelOptions
from calibrant.progress import Stopwatch
from calibrant.steps.planned import plan_model

SIZES = (-(2**63), -2, -1, 0, 1, 2, 3, 99999, 2**31, 2**40, 2**62)
QUANTIZED = 8  # one of so many


def seed_graph() -> bytes:
    """A small network of most kinds of attributes."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 6, 6, 2], "x")
        y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, weights(3, 3, 2, 4), 1, "SAME"), weights(4)))
        y = tf.compat.v1.nn.fused_batch_norm(
            tf.nn.depthwise_conv2d(y, weights(3, 3, 4, 1), [1, 1, 1, 1], "SAME"),
            weights(4),
            weights(4),
            weights(4),
            np.abs(weights(4)),
            is_training=False,
        )[0]
        y = tf.nn.avg_pool2d(tf.concat([y, y], 3), 2, 2, "VALID")
        y = tf.reshape(y, [-1, 72])
        tf.nn.softmax(tf.matmul(y, weights(72, 5)) + weights(5), name="out")
    return graph.as_graph_def().SerializeToString(deterministic=True)


def mutant(seed: bytes, number: int) -> bytes:
    """The mutant of this number: flipped bits, or one to three changes of the structure."""
    rng = random.Random(number)
    if number % 4 == 0:
        damaged = bytearray(seed)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged[: rng.randrange(len(damaged))] if number % 40 == 0 else damaged)
    graph = GraphDef.FromString(seed)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(graph, rng)
    return graph.SerializeToString(deterministic=True)


def _change(graph: GraphDef, rng: random.Random) -> None:
    if not graph.node:
        return
    node, other = rng.choice(graph.node), rng.choice(graph.node)
    keys = sorted(node.attr)
    constants = [found for found in graph.node if found.op == "Const"] or [node]
    value = rng.choice(constants).attr["value"].tensor
    kind = rng.randrange(14)
    if kind == 0 and keys:
        del node.attr[rng.choice(keys)]
    elif kind == 1 and keys:
        node.attr[rng.choice(keys)].CopyFrom(
            other.attr[rng.choice(sorted(other.attr))] if other.attr else node.attr[keys[0]]
        )
    elif kind == 2 and keys:
        attribute = node.attr[rng.choice(keys)]
        which = attribute.WhichOneof("value")
        if which == "type":
            attribute.type = rng.choice((*range(0, 27), 101, 103, 1000))
        elif which == "i":
            attribute.i = rng.choice(SIZES)
        elif which == "s":
            attribute.s = rng.choice((b"", b"SAME", b"VALID", b"NCHW", b"\xff\x00", b"x" * 3000))
        elif which == "list":
            attribute.list.i.append(rng.choice(SIZES))
        elif which == "shape":
            attribute.shape.dim.add(size=rng.choice(SIZES))
        elif which == "b":
            attribute.b = not attribute.b
    elif kind == 3 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(
            (other.name, f"{other.name}:1", f"{other.name}:99999", f"^{other.name}", "", "nobody", node.name)
        )
    elif kind == 4:
        node.input.append(other.name)
    elif kind == 5 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 6:
        node.name = rng.choice((other.name, "", "a" * 70000, "../x", "é", "a:b", "x/"))
    elif kind == 7:
        node.op = rng.choice((other.op, "", "NoSuch", "Switch", "Merge", "While", "Identity", "Placeholder", "Unpack"))
    elif kind == 8:
        if value.tensor_shape.dim:
            rng.choice(value.tensor_shape.dim).size = rng.choice(SIZES)
        else:
            value.tensor_shape.dim.add(size=rng.choice(SIZES))
    elif kind == 9:
        value.tensor_content = value.tensor_content[: rng.randrange(len(value.tensor_content) + 1)]
    elif kind == 10:
        dtype = rng.choice((dtypes.float32, dtypes.int32, dtypes.string, dtypes.float16, dtypes.resource, dtypes.bool))
        value.dtype = dtype.as_datatype_enum
    elif kind == 11:
        value.float_val.append(rng.choice((0.0, float("nan"), float("inf"), 3e38)))
        if rng.random() < 0.7:
            value.tensor_content = b""
    elif kind == 12:
        graph.node.remove(node)
    else:
        graph.node.add().CopyFrom(node)


def tried(path: Path, number: int) -> str:
    """What becomes of a graph; each QUANTIZED-th is quantized, the others are planned."""
    if number % QUANTIZED:
        return verdict_of(lambda: plan_model(str(path), None, ModelOptions(), Stopwatch()))
    data = np.random.default_rng(1).standard_normal((4, 6, 6, 2)).astype(np.float32)
    return verdict_of(lambda: calibrant.quantize(str(path), data=data, batch_size=2))


def main() -> None:
    """Try some; ``python graph_mutants.py FIRST STOP FOLDER``."""
    first, stop, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    seed, path = seed_graph(), folder / "mutant.pb"
    found: dict[str, object] = {"refused": 0, "accepted": 0, "longest": 0.0, "wrong": []}
    for number in range(first, stop):
        path.write_bytes(mutant(seed, number))
        begun = time.monotonic()
        verdict = tried(path, number)
        if verdict in found:
            found[verdict] += 1
        else:
            found["wrong"].append(f"{number}: {verdict}")
        found["longest"] = max(found["longest"], time.monotonic() - begun)
        (folder / "found.json").write_text(json.dumps({**found, "next": number + 1}))


if __name__ == "__main__":
    main()
