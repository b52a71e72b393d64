"""SavedModel folders: one signature, variables frozen into constants."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem, UnknownNameError, did_you_mean
from calibrant.graph import nodes as nd
from calibrant.graph.functions.unique_functions import with_unique_functions
from calibrant.graph.graph import Graph
from calibrant.graph.inference.assigning_branches import naming_switch, without_assigning_branches
from calibrant.graph.inference.variables import refuse_assigned
from calibrant.graph.reading import frozen
from calibrant.graph.reading.checkpoint import frozen_from_checkpoint
from calibrant.graph.reading.concrete_function import from_function, frozen_function
from calibrant.graph.reading.foreign_parts import require_dense_inputs, require_visible_layers, unknown_operations
from calibrant.graph.reading.plausible import plausible
from calibrant.graph.reading.trust import only_initializes
from calibrant.graph.tensorflow import cause_of, quiet, tensorflow
from calibrant.graph.tf_core import GraphDef

SERVING = "serve"


def from_saved_model(
    path: Path,
    signature: str | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    constants: Mapping[str, Any] | None = None,
    trust_model: bool = False,
) -> Graph:
    """The graph of one signature.

    The meta graph is read rather than revived as Python objects, so that optimizers or custom classes that were saved
    along do not matter. Where that does not give the values of all variables, TensorFlow revives the model.

    Raises
    ------
    ModelError
        Damaged folder, no such signature, or several and none is the default; or loading it would do more than set
        variables and tables.
    """
    tensorflow()
    meta_graph = _meta_graph(path)
    try:
        plausible(meta_graph.graph_def, str(path))
        if not trust_model:
            only_initializes(meta_graph, str(path))
        names = sorted(name for name in meta_graph.signature_def if not name.startswith("__"))
        if not names:
            return _from_function_of(path, signature, inputs, outputs, constants)
        chosen = meta_graph.signature_def[_choose(path, signature, names)]
        feeds: Mapping[str, str] = _by_key(chosen.inputs)
        fetches: Mapping[str, str] = _by_key(chosen.outputs)
        wanted = {
            nd.node_name(name)
            for name in (*_named(feeds, inputs), *_named(fetches, outputs), *feeds.values(), *fetches.values())
        }
        bound = {nd.node_name(feeds.get(key, key)): value for key, value in (constants or {}).items()}
        needed = sorted((wanted | bound.keys()) & {node.name for node in meta_graph.graph_def.node})
        fed = [tensor for tensor in (_named(feeds, inputs) or feeds.values()) if nd.node_name(tensor) not in bound]
        naming = partial(naming_switch, lambda: meta_graph.graph_def, needed, str(path), feeds, bound)
        with naming():
            decided = without_assigning_branches(meta_graph.graph_def, needed, str(path), bound, fed)
            constant, feeds, fetches = _frozen(path, meta_graph, decided, signature, needed, feeds, fetches)
        if not inputs:
            require_dense_inputs(meta_graph, chosen, str(path), constant)
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds for damaged folders
        cause = f"it lacks {error}" if isinstance(error, KeyError) else cause_of(error)
        problem = Problem(f"cannot be loaded as a SavedModel: {cause}", file=str(path))
        raise ModelError(unknown_operations(meta_graph, str(path)) or problem) from None
    with naming():
        graph = frozen.select_by_key(constant, str(path), feeds, fetches, inputs, outputs, constants, is_plausible=True)
    require_visible_layers(graph)
    return graph


def _named(keys: Mapping[str, str], names: Sequence[str] | None) -> list[str]:
    """The tensors that names stand for, which may be keys of the signature."""
    return [keys.get(name, name) for name in names or ()]


def _frozen(
    path: Path,
    meta_graph: Any,
    decided: GraphDef,
    signature: str | None,
    wanted: Sequence[str],
    feeds: Mapping[str, str],
    fetches: Mapping[str, str],
) -> tuple[GraphDef, Mapping[str, str], Mapping[str, str]]:
    """The graph with constants, and its inputs and outputs by key; the first way that succeeds.

    Parameters
    ----------
    decided : GraphDef
        That of the meta graph, or what is left of it without branches that are never taken.
    """
    constant = frozen_from_checkpoint(path, meta_graph, decided, wanted)
    if constant is not None:
        return constant, feeds, fetches
    refuse_assigned(meta_graph.graph_def, wanted, str(path))
    causes = []
    if meta_graph.HasField("object_graph_def"):
        try:
            return _from_revived(path, signature)
        except Exception as error:  # TensorFlow raises many kinds for models that it cannot revive
            causes.append(error)
    try:
        return _from_session(path, meta_graph.meta_info_def.tags, wanted), feeds, fetches
    except Exception as error:
        raise causes[0] if causes else error from None


def _meta_graph(path: Path) -> Any:
    """The meta graph for serving; the only one where none is tagged so."""
    from tensorflow.python.saved_model import loader_impl

    try:
        meta_graphs = loader_impl.parse_saved_model(str(path)).meta_graphs
    except Exception as error:  # of the file system, or of protobuf for damaged files
        raise ModelError(Problem(f"cannot be loaded as a SavedModel: {cause_of(error)}", file=str(path))) from None
    if not meta_graphs:
        raise ModelError(Problem("is a SavedModel whose saved_model.pb is empty or damaged", file=str(path)))
    for wanted in ({SERVING}, *({SERVING, other} for other in ("cpu", "gpu", "tpu"))):
        for meta_graph in meta_graphs:
            if set(meta_graph.meta_info_def.tags) == wanted:
                return meta_graph
    if len(meta_graphs) == 1:
        return meta_graphs[0]
    tags = "; ".join(", ".join(sorted(each.meta_info_def.tags)) or "none" for each in meta_graphs)
    raise ModelError(
        Problem(
            f"has {len(meta_graphs)} graphs and none is tagged {SERVING!r}; their tags are {tags}",
            file=str(path),
            hint="load it in Python, tf.saved_model.load(FOLDER, tags=[...]), and pass one of its signatures to "
            "calibrant.quantize",
        )
    )


def _from_session(path: Path, tags: Sequence[str], wanted: Sequence[str]) -> GraphDef:
    """What nodes need, frozen with the values that the variables have in a session."""
    tf = tensorflow()
    from tensorflow.python.framework import convert_to_constants

    with quiet(), tf.Graph().as_default() as imported, tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, list(tags), str(path))
        constant = convert_to_constants.convert_variables_to_constants_from_session_graph(
            session, imported.as_graph_def(), list(wanted)
        )
    return with_unique_functions(constant)


def _from_revived(path: Path, signature: str | None) -> tuple[GraphDef, dict[str, str], dict[str, str]]:
    """The same from the objects that TensorFlow makes of the folder."""
    tf = tensorflow()
    with quiet():
        model = tf.saved_model.load(str(path))
        function = model.signatures[_choose(path, signature, sorted(model.signatures))]
    graph_def, feeds, fetches = frozen_function(function, str(path))
    keys = sorted(function.structured_outputs)
    return (
        graph_def,
        {nd.node_name(feed): feed for feed in feeds},
        dict(sorted(zip(keys, fetches, strict=True), key=lambda item: natural(item[0]))),
    )


def _from_function_of(
    path: Path,
    signature: str | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    constants: Mapping[str, Any] | None,
) -> Graph:
    """The graph of a SavedModel without signatures: of the function that was saved along."""
    tf = tensorflow()
    with quiet():
        model = tf.saved_model.load(str(path))
    functions = dict(_traced(model))
    default = "__call__" if "__call__" in functions else next(iter(functions)) if len(functions) == 1 else None
    chosen = signature or default
    if chosen not in functions:
        raise ModelError(
            Problem(
                "has no signature" if signature is None else f"has no signature, and no function {signature!r}",
                file=str(path),
                allowed=", ".join(functions) or "a SavedModel with a signature or a traced function",
                hint="choose one of its functions with --signature" if functions else "save it with signatures=...",
            )
        )
    return from_function(functions[chosen], inputs, outputs, constants, str(path))


def _traced(model: Any) -> Iterator[tuple[str, Any]]:
    """The functions of a revived model, each as it was traced for inference."""
    for name in ("__call__", *sorted(vars(model)), "call", "serve"):
        function = getattr(model, name, None)
        for concrete in getattr(function, "concrete_functions", None) or ():
            arguments, named = concrete.structured_input_signature
            flags = [value for value in (*arguments, *named.values()) if isinstance(value, bool)]
            if not any(flags):
                yield name, concrete
                break


_PARTS = re.compile(r"(\d+)")


def natural(key: str) -> list[Any]:
    """Sorts ``output_2`` before ``output_10``."""
    return [int(part) if part.isdigit() else part for part in _PARTS.split(key)]


def _by_key(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Key → tensor, in the order that the model had where its keys are numbered."""
    return {key: tensors[key].name for key in sorted(tensors, key=natural)}


def _choose(path: Path, signature: str | None, names: Collection[str]) -> str:
    names = sorted(names)
    chosen = signature or ("serving_default" if "serving_default" in names else names[0] if len(names) == 1 else None)
    if chosen in names:
        return chosen
    problem = Problem(
        f"has no signature {chosen!r}" if chosen else f"has {len(names)} signatures and none is the default",
        file=str(path),
        allowed=", ".join(names),
        hint=(did_you_mean(chosen, names) if chosen else None) or "choose one with --signature",
    )
    raise UnknownNameError(problem, names=[chosen]) if chosen else ModelError(problem)
