"""What a GraphDef says about itself, checked before TensorFlow sees it: TensorFlow ends the process on some of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from calibrant.errors import ModelError, Problem, first_problems
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import called_by_function
from calibrant.graph.pieces import is_in_pieces, stored_bytes
from calibrant.graph.tf_core import FunctionDefLibrary, GraphDef, NodeDef, dtypes, op_def_registry

LARGEST = 1 << 31  # bytes that constants take beyond what the file holds of them
SMALL_BYTES = 1 << 16  # of a constant that need not be counted
_FIELDS = {
    **dict.fromkeys(("float32",), "float_val"),
    **dict.fromkeys(("float64",), "double_val"),
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16", "int4", "uint4", "int2", "uint2"), "int_val"),
    **dict.fromkeys(("qint8", "qint16", "qint32", "quint8", "quint16"), "int_val"),
    **dict.fromkeys(("int64",), "int64_val"),
    **dict.fromkeys(("uint32",), "uint32_val"),
    **dict.fromkeys(("uint64",), "uint64_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    **dict.fromkeys(("bool",), "bool_val"),
    **dict.fromkeys(("string",), "string_val"),
    **dict.fromkeys(("complex64",), "scomplex_val"),
    **dict.fromkeys(("complex128",), "dcomplex_val"),
}


def plausible(graph_def: GraphDef, source: str, written: Mapping[str, int] | None = None) -> None:
    """Types exist, the content of constants fits their type and shape, and no function calls itself.

    Parameters
    ----------
    written : Mapping[str, int] | None
        Constant → bytes of its content, of some that are not in a function, where it is known: protobuf copies a
        content that is asked for its length.

    Raises
    ------
    ModelError
        Naming the nodes, or the function.
    """
    problems: list[Problem] = []
    beyond = 0
    for node, sizes in _all_nodes(graph_def, written or {}):
        message = _unfit_attribute(node)
        if message is None and node.op == "Const":
            message = _misfit(node, sizes.get(node.name))
            if message is None:
                beyond += _more_than_the_file_holds(node.attr["value"].tensor)
                if beyond > LARGEST:
                    message = (
                        f"would take {beyond / 1e9:.3g} GB together with the constants before it, of which the file "
                        "holds a few values"
                    )
                    beyond = 0
        if message is not None:
            problems.append(Problem(message, file=source, path=node.name, hint="the file is damaged"))
    recursive = _recursive(graph_def.library)
    if recursive is not None:
        problems.append(Problem(f"the function {recursive!r} calls itself", file=source))
    if problems:
        raise ModelError(*first_problems(problems))


def _more_than_the_file_holds(tensor: Any) -> int:
    """Bytes of a tensor that repeat what the file has once; of one that passes :func:`_misfit`."""
    size = nd.elements(tensor.tensor_shape) * dtypes.as_dtype(tensor.dtype).size
    return 0 if size <= SMALL_BYTES else max(size - stored_bytes(tensor), 0)


def _all_nodes(graph_def: GraphDef, written: Mapping[str, int]) -> Iterator[tuple[NodeDef, Mapping[str, int]]]:
    """Each node, with what is known of the constants that it is one of."""
    for node in graph_def.node:
        yield node, written
    for function in graph_def.library.function:
        for node in function.node_def:
            yield node, {}


@cache
def _exists(number: int) -> bool:
    try:
        dtypes.as_dtype(number)
    except TypeError:
        return False
    return True


@cache
def _kinds(op: str) -> Mapping[str, str]:
    """Attribute of an operation that TensorFlow knows → the field that its value is in."""
    definition = op_def_registry.get(op)
    fields = {"int": "i", "float": "f", "bool": "b", "string": "s"}
    attributes = () if definition is None else definition.attr
    return {a.name: "list" if a.type.startswith("list(") else fields.get(a.type, a.type) for a in attributes}


def _unfit_attribute(node: NodeDef) -> str | None:
    """To TensorFlow, an attribute without a value is an empty list, or else an error."""
    kinds = _kinds(node.op)
    for key, value in node.attr.items():
        kind = value.WhichOneof("value")
        numbers = (value.type,) if kind == "type" else value.list.type if kind == "list" else ()
        for number in numbers:
            if number and not _exists(number):
                return f"its attribute {key!r} is the type {number}, which TensorFlow does not have"
        field = kinds.get(key, kind)
        if kind != field and kind != "placeholder" and (kind is not None or field != "list"):
            return f"its attribute {key!r} is of another kind than the operation {node.op} has"
    return None


def _misfit(node: NodeDef, size: int | None) -> str | None:
    """Why the content of a Const does not make a tensor of its type and shape; None where it does."""
    if node.attr["value"].WhichOneof("value") != "tensor":
        return "is a constant without a value"
    tensor, dtype = node.attr["value"].tensor, node.attr["dtype"].type
    if not _exists(tensor.dtype):
        return f"its value is of type {tensor.dtype}, which TensorFlow does not have"
    found = dtypes.as_dtype(tensor.dtype)
    if dtype != tensor.dtype:
        return f"its value is of type {found.name}, its attribute 'dtype' another"
    if found in (dtypes.resource, dtypes.variant):
        return f"is a constant of type {found.name}, which cannot be read from a file"
    sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        return "is a constant of unknown shape"
    count = nd.elements(tensor.tensor_shape)
    if size is None:
        size = sum(map(len, tensor.string_val)) if is_in_pieces(tensor) else len(tensor.tensor_content)
    if size:
        if found == dtypes.string:
            return "keeps its strings as raw bytes, which is not read"
        if size != count * found.size:
            return f"has {size} bytes for {found.name} of shape {sizes}"
        return None
    field = _FIELDS.get(found.name)
    values = 0 if field is None else len(getattr(tensor, field))
    if field is not None and values > count * (2 if found.is_complex else 1):
        return f"has {values} values for shape {sizes}"
    return None


def _recursive(library: FunctionDefLibrary) -> str | None:
    """A function that calls itself, directly or through others."""
    calls: Mapping[str, list[str]] = called_by_function(library)
    finished: set[str] = set()
    for root in calls:
        path: dict[str, Iterator[str]] = {}
        if root not in finished:
            path[root] = iter(calls[root])
        while path:
            name, rest = next(reversed(path.items()))
            following = next(rest, None)
            if following is None:
                finished.add(name)
                del path[name]
            elif following in path:
                return following
            elif following not in finished:
                path[following] = iter(calls[following])
    return None
