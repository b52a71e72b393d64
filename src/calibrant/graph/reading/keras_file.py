"""Keras files: which Keras wrote one, and what is in the way where none can read it."""

from __future__ import annotations

import inspect
import random
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.reading.keras_backend import keras_on_tensorflow
from calibrant.graph.reading.keras_before import flip_kernels, read_as_then
from calibrant.graph.reading.keras_bounds import (
    calls_as_deep_as,
    check_archive,
    check_arrays,
    check_description,
    weights_bounded,
)
from calibrant.graph.reading.keras_classes import is_of_keras_2, of_others, operations
from calibrant.graph.reading.keras_code import LAMBDA, what_runs
from calibrant.graph.reading.keras_model import from_keras
from calibrant.graph.reading.trust import SWITCH
from calibrant.graph.tensorflow import cause_of, eagerly, tensorflow
from calibrant.process_wide import alone

_UNKNOWN_CLASS = re.compile(
    r"Unknown (?:layer|object|loss|activation function|initializer|regularizer|constraint)?:? ?"
    r"(?:'(?P<k2>[^']+)'|(?P<plain>\w+))"
    r"|Could not locate (?:class|function) '(?P<k3>[\w>. ]+)'"
    r"|Could not interpret \w+(?: function)? identifier: (?P<named>[\w<>]+)"
    r"|Could not deserialize class '(?P<parent>\w+)' because its parent module"
)


def from_file(
    path: Path,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    constants: Mapping[str, Any] | None,
    trust_model: bool,
) -> Graph:
    """A ``.keras`` or ``.h5`` file, Keras 3 or Keras 2 format.

    A file of Keras 2 is read by ``tf_keras`` where that is installed, otherwise by Keras 3 as far as it can.

    Raises
    ------
    ModelError
        Neither can load it: it needs custom objects, is damaged, holds only weights, or would run code of its own.
    DependencyError
        Keras does not run on TensorFlow here.
    """
    tensorflow()
    found = _described(path)
    version, objects = found.version, found.objects
    legacy = version is not None and not version.startswith("3")
    tf_keras = _tf_keras() if legacy else None
    keras: Any = tf_keras
    if keras is None:
        keras = keras_on_tensorflow(str(path))
    if not trust_model and (legacy or not found.is_archive):
        _refuse_code(path, found.description, keras)
    refused: list[str] = []
    try:
        once = nullcontext() if keras is tf_keras else _sequential_built_once(keras)
        with (
            alone(),
            _random_numbers_kept(),
            eagerly(),
            once,
            read_as_then(keras) if legacy else nullcontext(),
            weights_bounded(keras, path.stat().st_size) as refused,
            calls_as_deep_as(objects),
        ):
            own = {} if legacy or found.is_archive else operations(keras, found.description)
            model = keras.models.load_model(str(path), own, compile=False, safe_mode=not trust_model)
            if found.backend == "theano":
                flip_kernels(model)
    except Exception as error:  # Keras raises many kinds for files it cannot read
        if refused:
            raise ModelError(Problem(refused[0], file=str(path), hint="the file is damaged")) from None
        raise ModelError(_problem(path, error, keras, found, legacy and tf_keras is None)) from None
    with eagerly(), calls_as_deep_as(objects):
        return from_keras(model, inputs, outputs, str(path), constants)


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """The caller's next random numbers stay the same; Keras draws seeds for each layer that it builds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _sequential_built_once(keras: Any) -> Iterator[None]:
    """Meanwhile, a Sequential model is built after its last layer; Keras 3 builds it anew after each of them."""
    kind = keras.Sequential
    add, from_config = kind.add, kind.__dict__["from_config"]

    def add_only(model: Any, layer: Any, rebuild: bool = True) -> None:
        add(model, layer, rebuild=False)

    def built(cls: Any, config: Any, custom_objects: Any = None) -> Any:
        model = from_config.__get__(None, cls)(config, custom_objects)
        if not model.built and model._layers:
            model._maybe_rebuild()
        return model

    if not hasattr(kind, "_maybe_rebuild") or "rebuild" not in inspect.signature(add).parameters:
        yield
        return
    try:
        kind.add, kind.from_config = add_only, classmethod(built)
        yield
    finally:
        kind.add, kind.from_config = add, from_config


def _tf_keras() -> ModuleType | None:
    try:
        import tf_keras
    except ImportError:
        return None
    return tf_keras


@dataclass(frozen=True)
class _Described:
    """What a file says of itself: which Keras wrote it, on what, None where it does not say; and its model."""

    version: str | None
    description: dict[str, Any]
    objects: int
    is_archive: bool
    backend: str | None = None


def _described(path: Path) -> _Described:
    """What a file says of itself.

    Raises
    ------
    ModelError
        The file holds weights only, or is neither HDF5 nor a Keras archive.
    """
    import h5py

    try:
        if zipfile.is_zipfile(path):
            metadata, description, objects = check_archive(path)
            version = metadata.get("keras_version")
            return _Described(None if version is None else str(version), description, objects, is_archive=True)
        if not h5py.is_hdf5(path):
            raise ModelError(Problem("is neither an HDF5 file nor a Keras archive, or is cut short", file=str(path)))
        with h5py.File(path, "r") as content:
            if "model_config" not in content.attrs:
                raise ModelError(
                    Problem(
                        f"holds weights only, not a model{_weights_of(content)}",
                        file=str(path),
                        hint="build the model in Python, load these weights into it, and save it whole: "
                        "model.load_weights(FILE); model.save('model.keras')",
                    )
                )
            description, objects = check_description(content.attrs["model_config"])
            check_arrays(content, path.stat().st_size)
            version = _said(content, "keras_version") or "1"
            return _Described(version, description, objects, is_archive=False, backend=_said(content, "backend"))
    except (OSError, KeyError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise ModelError(Problem(f"is a damaged Keras file: {cause_of(error)}", file=str(path))) from None


def _said(content: Any, attribute: str) -> str | None:
    value = content.attrs.get(attribute, content.get("model_weights", content).attrs.get(attribute))
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def _refuse_code(path: Path, description: dict[str, Any], keras: Any) -> None:
    """Loading runs nothing that is in the file, or that it names, but layers; Keras's safe mode does not see to that.

    Raises
    ------
    ModelError
        It would.
    """
    code = what_runs(description, keras.utils.get_custom_objects())
    if code is not None:
        raise ModelError(Problem(code, file=str(path), hint=SWITCH))


def _weights_of(content: Any) -> str:
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in content.attrs.get("layer_names", ())]
    names = names or [str(name) for name in content.get("layers", content)]
    return f" (of layers {', '.join(names[:5])}{' …' if len(names) > 5 else ''})" if names else ""


def _problem(path: Path, error: Exception, keras: Any, found: _Described, missing: bool) -> Problem:
    """Why a file could not be loaded, and what would help."""
    text = str(error)
    match = _UNKNOWN_CLASS.search(text)
    name = next((group for group in match.groups() if group), None) if match else None
    if name is not None and not (missing and is_of_keras_2(name, found.description)):
        others = of_others(keras, found.description)
        names = others if any(name in (other, other.rpartition(">")[2]) for other in others) else [name, *others]
        given = ", ".join(f"'{each}': ..." for each in names)
        return Problem(
            f"needs custom objects: {', '.join(names)}",
            file=str(path),
            hint=f"load it in Python, {keras.__name__}.models.load_model(FILE, custom_objects={{{given}}}, "
            "compile=False), and pass the model to calibrant.quantize; or export it as a SavedModel",
        )
    if missing:
        minor = ".".join(tensorflow().__version__.split(".")[:2])
        return Problem(
            f"was written by Keras {found.version}, which Keras {keras.__version__} cannot read: {cause_of(error)}",
            file=str(path),
            hint=f"install Keras 2: pip install --no-deps 'tf_keras=={minor}.*'; or calibrant[keras2], where the "
            "distribution is tensorflow, not tensorflow-cpu",
        )
    if "lambda" in text.lower() and "unsafe" in text.lower():
        return Problem(LAMBDA, file=str(path), hint=SWITCH)
    if "safe_mode=False" in text:
        named = re.search(r"`(\w+)`", text)
        return Problem(
            f"has {f'a layer {named[1]}' if named else 'a layer'} that may run code of its own on loading",
            file=str(path),
            hint=SWITCH,
        )
    return Problem(
        f"Keras {keras.__version__} cannot load it: {cause_of(error)}",
        file=str(path),
        hint="load it in Python and pass the model to calibrant.quantize, or export it as a SavedModel",
    )
