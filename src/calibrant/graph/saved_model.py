"""SavedModel folders: one signature, variables frozen into constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorflow.core.framework.graph_pb2 import GraphDef

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import frozen
from calibrant.graph import nodes as nd
from calibrant.graph.checkpoint import frozen_from_checkpoint
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import quiet, tensorflow


def from_saved_model(
    path: Path, signature: str | None, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Graph:
    """The graph of one signature.

    The meta graph is read rather than revived as Python objects, so that optimizers or custom classes that were saved
    along do not matter.

    Raises
    ------
    ModelError : damaged folder, no such signature, or several and none is the default.
    """
    tensorflow()
    try:
        meta_graph = _meta_graph(path)
        chosen = meta_graph.signature_def[_choose(path, signature, meta_graph.signature_def)]
        feeds, fetches = _distinct(chosen.inputs), _distinct(chosen.outputs)
        known = {node.name for node in meta_graph.graph_def.node}
        wanted = sorted({nd.node_name(name) for name in (*feeds, *fetches, *(inputs or ()), *(outputs or ()))} & known)
        constant = frozen_from_checkpoint(path, meta_graph, wanted) or _from_session(path, wanted)
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds for damaged folders
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(Problem(f"cannot be loaded as a SavedModel: {reason}", file=str(path))) from None
    return frozen.select(
        constant,
        str(path),
        inputs or list(feeds),
        outputs or list(fetches),
        () if inputs else list(feeds.values()),
        () if outputs else list(fetches.values()),
    )


def _meta_graph(path: Path) -> Any:
    from tensorflow.python.saved_model import loader_impl

    return loader_impl.SavedModelLoader(str(path)).get_meta_graph_def_from_tags([tensorflow().saved_model.SERVING])


def _from_session(path: Path, wanted: Sequence[str]) -> GraphDef:
    """What nodes need, frozen with the values that the variables have in a session."""
    tf = tensorflow()
    from tensorflow.python.framework import convert_to_constants

    with quiet(), tf.Graph().as_default() as imported, tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        return convert_to_constants.convert_variables_to_constants_from_session_graph(
            session, imported.as_graph_def(), list(wanted)
        )


def _distinct(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Tensor → key, sorted by key; a tensor with two keys has the first."""
    result: dict[str, str] = {}
    for key in sorted(tensors):
        result.setdefault(tensors[key].name, key)
    return result


def _choose(path: Path, signature: str | None, signatures: Sequence[str]) -> str:
    names = sorted(name for name in signatures if not name.startswith("__"))
    chosen = signature or ("serving_default" if "serving_default" in names else names[0] if len(names) == 1 else None)
    if chosen in names:
        return chosen
    raise ModelError(
        Problem(
            f"has no signature {chosen!r}" if chosen else f"has {len(names)} signatures and none is the default",
            file=str(path),
            allowed=", ".join(names) or "a SavedModel with at least one signature",
            hint=(did_you_mean(chosen, names) if chosen else None) or "choose one with --signature",
        )
    )
