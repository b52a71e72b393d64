"""Models, each read, compared with TensorFlow, quantized and verified with made-up data; called by ``doors.py``.

    python door.py MODELS.json

A row of JSON a model is printed. What TensorFlow (or Keras) makes of the same file and data is computed with nothing of
this project: the folded graph is compared with that.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 2
SWITCH = "--trust-model"
OPEN = 32  # size of an open axis
SIZES = {
    "deepbrain_v1.pb": 128,
    "cutkum_lstm.pb": 20,
    "pre_sm": 28,
    "t2o_gru.pb": 784,
}  # of others
TIME_FIRST = {"cutkum_lstm.pb"}  # models whose inputs differ in where the samples are counted
PRODUCT = re.compile("Conv|MatMul|Einsum|LSTM|GRU|CudnnRNN")
NO_PRODUCT = re.compile("ConvertToC|Backprop(Filter|Input$)|BiasAddGrad|Diag|FFTConv")

Arrays = dict[str, np.ndarray]
Stock = tuple[dict[str, tuple[list[int | None] | None, Any]], Callable[[Arrays], Arrays]]


def main() -> None:
    """Print a row for each model."""
    for entry in json.loads(Path(sys.argv[1]).read_text()):
        print("START " + entry["name"], flush=True)
        shutil.rmtree("out", ignore_errors=True)
        print("ROW " + json.dumps(row(entry)), flush=True)


def row(entry: dict[str, Any]) -> dict[str, Any]:
    """What became of one model."""
    known: dict[str, Any] = {"name": entry["name"], "read": "no"}
    try:
        graph, words, constants = opened(entry)
        known |= {"read": " ".join(["yes", *proposed(words, entry)]), "outputs": len(graph.outputs)}
        known |= judged(entry["path"], graph, words, constants)
    except Exception as error:  # what a user would see is the row
        known["stopped"] = first_line(error)
        if not is_ours(error):
            known["traceback"] = traceback.format_exc()[-600:]
    if known["read"] == "no":
        try:
            specs, run = stock_model(entry["path"], entry.get("signature"))
            known["stock"] = f"runs, {len(run(made_up(specs, OPEN)))} outputs"
        except Exception as error:
            known["stock"] = f"{type(error).__name__}: {first_line(error)}"
    return known


def proposed(words: list[str], entry: dict[str, Any]) -> list[str]:
    """The options that a message has asked for."""
    given = {entry.get(key) for key in ("inputs", "outputs", "signature")}
    chosen = [word for pair in zip(words[::2], words[1::2], strict=False) if pair[1] not in given for word in pair]
    return chosen + words[len(words) // 2 * 2 :]


def is_ours(error: Exception) -> bool:
    """Whether this is one clear error."""
    from calibrant.errors import CalibrantError

    return isinstance(error, CalibrantError)


def first_line(error: Exception) -> str:
    """The message, in one line and not too long."""
    text = " ".join(str(error).split())
    return re.sub(r"(?<!\S)/\S*/", "", text)[:300]


def opened(entry: dict[str, Any]) -> tuple[Any, list[str], dict[str, Any]]:
    """The graph, the options that it was read with, and what ``--set`` bound."""
    from calibrant.graph.reading.load import load

    path, signature = entry["path"], entry.get("signature")
    named = {key: entry[key].split(",") for key in ("inputs", "outputs") if entry.get(key)}
    constants: dict[str, Any] = {}
    trusted: dict[str, Any] = {}
    for _ in range(3):  # a second message may propose more
        try:
            options = {**named, **trusted, **({"constants": constants} if constants else {})}
            graph = load(path, **options, **({"signature": signature} if signature else {}))
            require_numbers(graph)
            break
        except Exception as error:
            asked = re.findall(r"--(set|outputs|inputs) (?!or )([^\s;,)]+(?:,[^\s;)]+)*)", str(error))
            for kind, said in {"outputs": "name them with", "signature": "choose one with"}.items():
                listed = re.search(rf"allowed: (.*)\n.*{said} --{kind}", str(error))
                if listed is not None:
                    names = listed[1].replace(" ", "")
                    asked.append((kind, names if kind == "outputs" else names.split(",")[0]))
            if is_ours(error) and SWITCH in str(error) and not trusted:
                trusted = {"trust_model": True}
            elif not is_ours(error) or not asked:
                raise
            for kind, text in asked:
                if kind == "set":
                    name, value = text.split("=", 1)
                    constants[name] = json.loads(value)
                elif kind == "signature":
                    signature = text
                else:
                    named[kind] = text.split(",")
    else:
        raise RuntimeError("each message proposes something else")
    words = [word for kind, names in named.items() for word in (f"--{kind}", ",".join(names))]
    words += [word for name, value in constants.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    words += ["--signature", signature] if signature else []
    words += [SWITCH] if trusted else []  # last, because it has no value
    return graph, words, constants


def require_numbers(graph: Any) -> None:
    """The error of ``quantize`` for inputs that are text, where this version of the code has one."""
    try:
        from calibrant.graph.reading.cut_proposal import check_feedable
    except ImportError:
        return
    check_feedable(graph)


def judged(path: str, graph: Any, words: list[str], constants: dict[str, Any]) -> dict[str, Any]:
    """Layers, the difference to TensorFlow, and how the commands end."""
    from calibrant.cli.main import main as command
    from calibrant.fold.folding import fold
    from calibrant.graph.layers import find_layers
    from calibrant.graph.running.run import run_once

    def code(*arguments: str) -> int | str:
        try:
            return command(list(arguments)) or 0
        except SystemExit as ended:
            return ended.code or 0

    layers, others = find_layers(graph)
    known: dict[str, Any] = {"layers": len(layers), "float": len(others)}
    known["unlisted"] = unlisted(graph, {item.name for item in (*layers, *others)})
    specs = {
        key: (shape_at(graph, tensor), graph.dtype(tensor).as_numpy_dtype)
        for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)
    }
    size = SIZES.get(Path(path).name, OPEN)
    fed = made_up(specs, size, size if Path(path).name in TIME_FIRST else SAMPLES)
    ours = dict(zip(graph.output_keys, run_once(fold(graph).graph, fed), strict=True))
    try:
        stock = stock_outputs(path, graph, words, fed, constants)
        known["stock outputs"] = len(stock)
        known["difference"] = difference(list(stock.values()), matched(stock, ours))
    except Exception as error:
        known["stock"] = f"{type(error).__name__}: {first_line(error)}"
        pairs = zip(run_once(graph, fed), ours.values(), strict=True)
        known["fold"] = difference(*zip(*pairs, strict=True))
    np.savez("data.npz", **fed)
    known["ascend"] = code("quantize", path, *words, "--data", "data.npz", "--export", "ascend", "--out", "out")
    known["verify"] = code("verify", "out", "--data", "data.npz") if known["ascend"] == 0 else "–"
    return known


def matched(stock: Arrays, ours: Arrays) -> list[np.ndarray]:
    """Our outputs in TensorFlow's order: by name where the names are the same, else by place."""
    if set(stock) == set(ours):
        return [ours[key] for key in stock]
    return list(ours.values())


def difference(stock: Any, ours: Any) -> float:
    """The largest one of all outputs, relative to the largest value of the output."""
    apart = [0.0]
    for wanted, is_ in zip(stock, ours, strict=True):
        wanted, is_ = np.asarray(wanted), np.asarray(is_)
        if wanted.shape != is_.shape:
            raise ValueError(f"shapes differ: {wanted.shape} and {is_.shape}")
        if wanted.dtype.kind in "SUO":
            apart.append(float(np.any(wanted != is_)))
        elif wanted.size:
            wanted, is_ = wanted.astype(float), is_.astype(float)
            with np.errstate(invalid="ignore"):
                both = np.where((wanted == is_) | (np.isnan(wanted) & np.isnan(is_)), 0, np.abs(wanted - is_))
            scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
            apart.append(float(both.max() / (scale or 1)))
    return max(apart)


def made_up(specs: dict[str, tuple[Any, Any]], open_size: int, samples: int = SAMPLES) -> Arrays:
    """Data of the types and shapes of the inputs."""
    generator, fed = np.random.default_rng(0), {}
    for key, (sizes, dtype) in specs.items():
        sizes = [samples, open_size] if sizes is None else sizes
        shape = tuple(size or (open_size if axis else samples) for axis, size in enumerate(sizes))
        kind = np.dtype(dtype)
        if kind.kind in "OSU":
            words = np.array([b"the cat sat", b"on the mat", b"a dog ran far"], object)
            fed[key] = np.resize(words, shape)
        elif kind.kind == "b":
            fed[key] = np.zeros(shape, kind)
        else:
            fed[key] = (generator.random(shape) if kind.kind in "fVc" else generator.integers(0, 4, shape)).astype(kind)
    return fed


def shape_at(graph: Any, tensor: str) -> list[int | None] | None:
    """The shape of an input; what is open in it by the convolution or product that reads it."""
    sizes = graph.shape(tensor)
    for node, _ in graph.consumers(tensor):
        values = graph.constant(node.input[1]) if node.op in ("BatchMatMulV2", "Conv2D", "MatMul") else None
        if values is not None:
            known = [None, None, None, values.shape[2]] if node.op == "Conv2D" else [None, values.shape[-2]]
            known = [None] * (len(sizes or ()) - len(known)) + known
            return known if sizes is None else [a or b for a, b in zip(sizes, known, strict=True)]
    return sizes


def unlisted(graph: Any, listed: set[str]) -> list[str]:
    """Products with a constant operand that are neither layers nor in the list of what stays in float.

    An operand is constant if nothing that it depends on is fed. In bodies of loops and branches, everything is listed.
    """
    definition = graph.graph_def()
    fed = {tensor.split(":")[0] for tensor in graph.inputs}
    moving = set(fed)
    for _ in range(2):  # a second time for loops
        for node in definition.node:
            if any(name.lstrip("^").split(":")[0] in moving for name in node.input):
                moving.add(node.name)
    missing = []
    for node in definition.node:
        operands = [name.split(":")[0] for name in node.input if not name.startswith("^")]
        some = any(name in moving for name in operands) and any(name not in moving for name in operands)
        if PRODUCT.search(node.op) and not NO_PRODUCT.search(node.op) and some and node.name not in listed:
            missing.append(f"{node.name} ({node.op})")
    tails = {name.rsplit("/", 1)[-1] for name in listed}
    for function in definition.library.function:
        for node in function.node_def:
            inside = PRODUCT.search(node.op) and not NO_PRODUCT.search(node.op)
            if inside and node.name not in listed and node.name.rsplit("/", 1)[-1] not in tails:
                missing.append(f"{function.signature.name}/{node.name} ({node.op})")
    return missing


def stock_model(path: str, signature: str | None = None) -> Stock:
    """The inputs of a model, and a function that runs it, by TensorFlow and Keras alone."""
    import tensorflow as tf

    if Path(path).is_dir():
        loaded = tf.saved_model.load(path)
        function = loaded.signatures[signature or next(iter(loaded.signatures))]
        known = function.structured_input_signature[1]
        specs = {key: (shape_of(spec), spec.dtype.as_numpy_dtype) for key, spec in known.items()}
        names = list(specs)

        def run_signature(fed: Arrays) -> Arrays:
            by_name = fed if set(fed) == set(names) else dict(zip(names, fed.values(), strict=True))
            made = function(**{key: tf.constant(value) for key, value in by_name.items()})
            return {key: value.numpy() for key, value in made.items()}

        return specs, run_signature
    if Path(path).suffix in (".keras", ".h5", ".hdf5"):
        model = stock_keras(path)
        given = list(model.inputs)
        specs = {f"{k}": (shape_of(each), tf.as_dtype(each.dtype).as_numpy_dtype) for k, each in enumerate(given)}

        def run_keras(fed: Arrays) -> Arrays:
            values = [tf.constant(value) for value in fed.values()]
            made = model(values if len(values) > 1 else values[0], training=False)
            if isinstance(made, dict):
                return {key: np.asarray(each) for key, each in made.items()}
            return {f"{k}": np.asarray(each) for k, each in enumerate(tf.nest.flatten(made))}

        return specs, run_keras
    return stock_graph(path, None, {})


def stock_graph(path: str, outputs: list[str] | None, constants: dict[str, Any]) -> Stock:
    """The same of a frozen graph."""
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(Path(path).read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    read = {name.lstrip("^").split(":")[0] for node in definition.node for name in node.input}
    ends = [op for op in graph.get_operations() if op.name not in read and op.outputs]
    wanted = outputs or [f"{op.name}:0" for op in ends if op.type not in ("Const", "Placeholder")]
    specs = {
        f"{op.name}:0": (shape_of(op.outputs[0]), op.outputs[0].dtype.as_numpy_dtype)
        for op in graph.get_operations()
        if op.type == "Placeholder" and op.name not in constants
    }
    bound = {f"{name.split(':')[0]}:0": value for name, value in constants.items()}

    def run(fed: Arrays) -> Arrays:
        with tf.compat.v1.Session(graph=graph) as session:
            return dict(zip(wanted, session.run(wanted, {**fed, **bound}), strict=True))

    return specs, run


def stock_keras(path: str) -> Any:
    """The Keras model of a file: Keras 3, or Keras 2 where that fails."""
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=False)
    except Exception:
        import tf_keras

        return tf_keras.models.load_model(path, compile=False)


def shape_of(tensor: Any) -> list[int | None] | None:
    """Sizes, or None for an unknown rank."""
    shape = tensor.shape
    return None if getattr(shape, "rank", 0) is None else [None if size is None else int(size) for size in shape]


def stock_outputs(path: str, graph: Any, words: list[str], fed: Arrays, constants: dict[str, Any]) -> Arrays:
    """What TensorFlow computes from the same file and data."""
    if Path(path).suffix == ".pb":
        tensors = dict(zip(graph.input_keys, graph.inputs, strict=True))
        _, run = stock_graph(path, list(graph.outputs), constants)
        return run({tensors[key]: value for key, value in fed.items()})
    if any(word in ("--inputs", "--outputs") for word in words) or constants:
        raise NotImplementedError("only a part of the model was read")
    signature = words[words.index("--signature") + 1] if "--signature" in words else None
    return stock_model(path, signature)[1](fed)


if __name__ == "__main__":
    main()
