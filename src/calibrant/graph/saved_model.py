"""SavedModel folders: one signature, variables frozen into constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import frozen
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
        feeds = {key: chosen.inputs[key].name for key in sorted(chosen.inputs)}
        fetches = {key: chosen.outputs[key].name for key in sorted(chosen.outputs)}
        constant = convert_to_constants.convert_variables_to_constants_from_session_graph(
            session,
            imported.as_graph_def(),
            sorted({name.rpartition(":")[0] for name in (*fetches.values(), *(outputs or ()))} - {""}),
        )
    if inputs or outputs:
        return frozen.select(constant, str(path), inputs or list(feeds.values()), outputs or list(fetches.values()))
    return frozen.select(constant, str(path), list(feeds.values()), list(fetches.values()), list(feeds), list(fetches))


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
