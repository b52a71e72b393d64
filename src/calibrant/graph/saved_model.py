"""SavedModel folders: one signature, variables frozen into constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import frozen
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import quiet, tensorflow


def from_saved_model(
    path: Path, signature: str | None, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Graph:
    """The graph of one signature.

    The meta graph is loaded into a session rather than revived as Python objects, so that optimizers or custom
    classes that
    were saved along do not matter.

    Raises
    ------
    ModelError : damaged folder, no such signature, or several and none is the default.
    """
    tf = tensorflow()
    from tensorflow.python.framework import convert_to_constants

    with quiet(), tf.Graph().as_default() as imported, tf.compat.v1.Session() as session:
        try:
            meta_graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        except Exception as error:  # TensorFlow raises many kinds for damaged folders
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(Problem(f"cannot be loaded as a SavedModel: {reason}", file=str(path))) from None
        chosen = meta_graph.signature_def[_choose(path, signature, meta_graph.signature_def)]
        feeds, fetches = _distinct(chosen.inputs), _distinct(chosen.outputs)
        definition = imported.as_graph_def()
        known = {node.name for node in definition.node}
        wanted = {nd.node_name(name) for name in (*feeds, *fetches, *(inputs or ()), *(outputs or ()))}
        constant = convert_to_constants.convert_variables_to_constants_from_session_graph(
            session, definition, sorted(wanted & known)
        )
    return frozen.select(
        constant,
        str(path),
        inputs or list(feeds),
        outputs or list(fetches),
        () if inputs else list(feeds.values()),
        () if outputs else list(fetches.values()),
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
