"""Any model a user brings → one Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrant.collector import collector_paused
from calibrant.errors import ModelError, Problem, UnknownNameError, is_address
from calibrant.forks import refuse_fork
from calibrant.graph.graph import Graph
from calibrant.graph.reading import concrete_function, frozen, keras_file, keras_model, meta_graph, saved_model
from calibrant.graph.reading.file_kind import MODELS, not_a_model, with_graph
from calibrant.graph.reading.trust import only_computes
from calibrant.graph.tensorflow import without_callbacks
from calibrant.regular_file import require_regular

SAVED_MODEL = "saved_model.pb"


@collector_paused()
@without_callbacks()
def load(
    model: Any,
    inputs: str | Sequence[str] | None = None,
    outputs: str | Sequence[str] | None = None,
    signature: str | None = None,
    constants: Mapping[str, Any] | None = None,
    trust_model: bool = False,
) -> Graph:
    """Read a model into one graph of nodes and constants.

    Parameters
    ----------
    model : Any
        Path of a frozen graph (``.pb``, ``.pbtxt``), a SavedModel folder, a Keras file (``.keras``, ``.h5``), the
        ``.meta`` file of a checkpoint of TensorFlow 1.x; or in memory: a ``GraphDef``, a ``tf.Graph`` without
        variables, a Keras model, a ``tf.function`` with an input signature, a ``ConcreteFunction``, a :class:`Graph`.
    inputs : str | Sequence[str] | None
        Tensors to feed, in a list or as ``"A,B"``; the graph is cut there. By default the placeholders that the outputs
        need.
    outputs : str | Sequence[str] | None
        Tensors that are the results. By default those of the signature or Keras model, or the only node that nobody
        reads.
    signature : str | None
        Of a SavedModel; ``serving_default``, or the only one, by default.
    constants : Mapping[str, Any] | None
        Placeholder → the value that it is bound to, for graphs with a switch for training: ``{"keep_prob": 1,
        "phase_train": False}``. A PlaceholderWithDefault has its default unless it is bound.
    trust_model : bool
        Whether a file may run Python code, write files or talk to other machines.

    Raises
    ------
    ModelError
        The file is missing, damaged or of an unknown kind, holds variables, training-mode ops, unknown ops or cycles,
        does more than compute, or a named tensor does not exist.
    DependencyError
        This process was forked from one in which TensorFlow ran.
    """
    refuse_fork()
    inputs, outputs = (_several(names) for names in (inputs, outputs))
    if isinstance(model, Graph):
        return frozen.select(
            model.graph_def(),
            model.source,
            inputs or model.inputs,
            outputs or model.outputs,
            () if inputs else model.input_keys,
            () if outputs else model.output_keys,
            constants,
        )
    if isinstance(model, (str, Path)):
        _refuse_no_path(str(model))
        graph = _load_file(Path(model), inputs, outputs, signature, constants, trust_model)
        if not trust_model:
            only_computes(graph)
        return graph
    if isinstance(model, type):
        hint = "give a model that is made of it, with its trained weights"
        raise ModelError(Problem(f"a model cannot be a class, {model.__name__}", hint=hint))
    if hasattr(model, "as_graph_def"):
        return frozen.select(model.as_graph_def(), "tf.Graph", inputs, outputs, constants=constants)
    if hasattr(model, "node") and hasattr(model, "library"):
        return frozen.select(model, "GraphDef", inputs, outputs, constants=constants)
    if hasattr(model, "layers") and callable(model):
        return keras_model.from_keras(model, inputs, outputs, constants=constants)
    if hasattr(model, "get_concrete_function") or hasattr(model, "structured_outputs"):
        return concrete_function.from_function(model, inputs, outputs, constants)
    raise ModelError(
        Problem(
            f"a model cannot be a {type(model).__name__}",
            allowed="a path, GraphDef, tf.Graph, Keras model, tf.function, ConcreteFunction or calibrant graph",
        )
    )


def _refuse_no_path(text: str) -> None:
    """Raises an error that shows it as it was given; as a ``Path``, a URL would lose a slash."""
    if not text.strip():
        raise ModelError(Problem("the path of the model is empty", allowed=MODELS))
    if is_address(text):
        hint = "URLs are not read: copy the file first, and give its path"
        raise ModelError(Problem("is no path of a model", file=text, allowed=MODELS, hint=hint))


def _several(names: str | Sequence[str] | None) -> Sequence[str] | None:
    """Names in one text are parted by commas, which none of them can hold."""
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else names


def _load_file(
    path: Path,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    signature: str | None,
    constants: Mapping[str, Any] | None,
    trust_model: bool,
) -> Graph:
    try:
        is_folder = path.is_dir()
        exists = path.exists()
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    if not exists:
        graph = with_graph(path)
        hint = f"give the file with the graph of the checkpoint, {graph}" if graph.exists() else None
        raise ModelError(Problem("there is no such model", file=str(path), hint=hint))
    for file in (path / SAVED_MODEL, path / "saved_model.pbtxt") if is_folder else (path,):
        require_regular(file, ModelError)
    try:
        unfit = not_a_model(path)
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    if unfit is not None:
        raise ModelError(unfit)
    if is_folder:
        return saved_model.from_saved_model(path, signature, inputs, outputs, constants, trust_model)
    if signature is not None and path.name != SAVED_MODEL:
        problem = Problem("only a SavedModel has signatures", file=str(path), hint="leave out --signature")
        raise UnknownNameError(problem, names=[signature])
    suffix = path.suffix.lower()
    if suffix in {".keras", ".h5", ".hdf5"}:
        return keras_file.from_file(path, inputs, outputs, constants, trust_model)
    if suffix == ".meta" or path.name == ".meta":
        return meta_graph.from_meta_graph(path, inputs, outputs, constants)
    if suffix == ".pbtxt":
        return frozen.from_text(path, inputs, outputs, constants)
    if path.name == SAVED_MODEL:
        return saved_model.from_saved_model(path.parent, signature, inputs, outputs, constants, trust_model)
    return frozen.from_binary(path, inputs, outputs, constants)
