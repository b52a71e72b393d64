"""What a file or folder is that holds no model for TensorFlow, by its first bytes and its names, and what to do."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from calibrant.archives import open_archive
from calibrant.errors import Problem
from calibrant.file_endings import SIMULATION, TFLITE
from calibrant.json_text import read_json

MODELS = "a .pb, .pbtxt, .keras, .h5 or .meta file, or a SavedModel folder"
SUFFIXES = frozenset({".h5", ".hdf5", ".keras", ".pb", ".pbtxt"})
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_HEAD = 256  # bytes
_SHOWN = 5

_OTHER_FRAMEWORKS = {
    ".mlmodel": "Core ML",
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".safetensors": "another framework",
}
_CHECKPOINT_FILE = re.compile(r"\.(index|ckpt)$|\.data-\d+-of-\d+$")
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x7f][\x20-\x7e]+")
_TEXT_GRAPH = re.compile(rb"(\s|#[^\n]*\n)*(node|versions|library)\s*:?\s*\{")
_OF_A_CHECKPOINT = (
    "a checkpoint has values, but no graph that uses them: build the model in Python, restore the checkpoint into it "
    "and save it whole, model.export('FOLDER') or tf.saved_model.save(model, 'FOLDER')"
)
_UNPACK = "unpack it, and give the model that is inside"
_THE_SOURCE = "give the TensorFlow model that it was made from"


def not_a_model(path: Path) -> Problem | None:
    """Why a path that exists is not a model for TensorFlow; None where it may be one."""
    known = _folder(path) if path.is_dir() else _file(path)
    if known is None:
        return None
    message, hint = known
    return Problem(message, file=str(path), allowed=MODELS, hint=hint)


def _file(path: Path) -> tuple[str, str | None] | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    suffix = path.suffix.lower()
    known = _by_content(path, head, suffix)
    if known is not None:
        return known
    if suffix in _OTHER_FRAMEWORKS:
        return f"is a model of {_OTHER_FRAMEWORKS[suffix]}, not of TensorFlow", _THE_SOURCE
    if suffix == ".tflite":
        return _litert(path)
    if _CHECKPOINT_FILE.search(path.name):
        return "is a part of a checkpoint, not a model", _of_a_checkpoint(path.with_suffix(".meta"), with_graph(path))
    return None


def with_graph(prefix: Path) -> Path:
    """The file with the graph of a checkpoint of TensorFlow 1.x, whether there is one or not."""
    return Path(f"{prefix}.meta")


def _of_a_checkpoint(*graphs: Path) -> str:
    found = next((graph for graph in graphs if graph.exists()), None)
    return _OF_A_CHECKPOINT if found is None else f"give the file with its graph, {found}"


_PYTORCH = ("is a model of PyTorch, not of TensorFlow", _THE_SOURCE)


def _litert(path: Path) -> tuple[str, str]:
    """A LiteRT file; one of a result has its simulation beside it."""
    hint, simulation = _THE_SOURCE, path.with_name(path.name.removesuffix(TFLITE) + SIMULATION)
    if path.name.endswith(TFLITE) and simulation.exists():
        folder = shlex.quote(str(path.parent))
        hint += (
            f"; its accuracy: calibrant verify {folder} --data DATA --labels LABELS, which runs the file itself, or "
        )
        hint += f"give its simulation, {simulation}"
    return "is a LiteRT (TensorFlow Lite) file, which has been converted already", hint


def _by_content(path: Path, head: bytes, suffix: str) -> tuple[str, str | None] | None:
    """What the first bytes say; none of them begins a binary graph."""
    if not head:
        return "is an empty file", "copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed with gzip", f"unpack it: {_unpack_gzip(path)}"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, suffix)
    if head.startswith(b"\x89HDF\r\n\x1a\n") and suffix not in (".h5", ".hdf5"):
        return "is an HDF5 file under another name", f"rename it to {path.stem}.h5"
    if head[4:8] == b"TFL3" and head[2:4] == b"\0\0":
        return _litert(path)
    if head.startswith(b"\x93NUMPY"):
        return "is a NumPy array, not a model", "data go to --data"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _PYTORCH if suffix in (".pt", ".pth") else ("is a Python pickle, not a model of TensorFlow", _THE_SOURCE)
    if re.match(rb"\s*<(!doctype html|html)", head, re.IGNORECASE):
        return "is a web page, not a model", "download the file itself"
    if re.match(rb'\s*\{\s*"', head) and suffix not in (".pbtxt", ".pb"):
        return _json(path)
    if _ONNX.match(head):
        return f"is a model of {_OTHER_FRAMEWORKS['.onnx']}, not of TensorFlow", _THE_SOURCE
    if head.startswith(b"\x08\x01\x12") and path.name != _SAVED_MODEL[0]:
        return "is the saved_model.pb of a SavedModel", "rename it back, and give the folder that also has variables/"
    if _TEXT_GRAPH.match(head) and suffix != ".pbtxt" and path.name not in _SAVED_MODEL:
        return "is a graph in text form", f"rename it to {path.stem}.pbtxt"
    return None


def _unpack_gzip(path: Path) -> str:
    if path.name.endswith((".tar.gz", ".tgz")):
        return f"tar -xzf {path.name}"
    return f"gzip -dc {path.name} > {'unpacked.pb' if path.suffix != '.gz' else path.stem}"


def _zip(path: Path, suffix: str) -> tuple[str, str | None] | None:
    try:
        with open_archive(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None if suffix == ".keras" else ("is a damaged zip archive", "copy or download it again")
    if {"config.json", "metadata.json"} & set(names):
        return (
            None if suffix == ".keras" else ("is a Keras model under another name", f"rename it to {path.stem}.keras")
        )
    if any(name.endswith("data.pkl") for name in names):
        return _PYTORCH
    if any(name.endswith(".npy") for name in names):
        return "holds NumPy arrays, not a model", "data go to --data"
    inside = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    return f"is a zip archive ({inside or 'empty'}), not a model", _UNPACK if names else None


def _json(path: Path) -> tuple[str, str | None]:
    with suppress(OSError, ValueError, RecursionError):
        content = read_json(path)
        if "modelTopology" in content or "weightsManifest" in content:
            return "is a model of TensorFlow.js, which has been converted already", _THE_SOURCE
        if "class_name" in content and "config" in content:
            return (
                "is the configuration of a Keras model, without its weights",
                "in Python: model = keras.models.model_from_json(TEXT), model.load_weights(FILE), and "
                "model.save('model.keras')",
            )
    return "is a JSON file, not a model", None


def _folder(path: Path) -> tuple[str, str | None] | None:
    if any((path / name).exists() for name in _SAVED_MODEL):
        return None
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        return "is an empty folder", None
    if {"config.json", "model.weights.h5"} <= set(names):
        return "is a Keras archive that was unpacked", f"pack its files again: (cd {path} && zip -0 ../model.keras *)"
    if "checkpoint" in names or any(_CHECKPOINT_FILE.search(name) for name in names):
        graph = next((name for name in reversed(names) if name.endswith(".meta")), ".meta")
        return "is a folder with a checkpoint, not a model", _of_a_checkpoint(path / graph)
    if "variables" in names or "fingerprint.pb" in names:
        return "is a folder, but not a SavedModel: saved_model.pb is missing", "copy the whole folder again"
    inside = list(islice(_models(path), _SHOWN + 1))
    if inside:
        listed = ", ".join(inside[:_SHOWN]) + (" …" if len(inside) > _SHOWN else "")
        hint = "give one of them" if len(inside) > 1 else f"give {path / inside[0]}"
        return f"is a folder, but not a SavedModel; it holds {listed}", hint
    return "is a folder, but not a SavedModel", None


def _models(folder: Path) -> Iterator[str]:
    """The models in a folder and in its folders."""
    for pattern in ("*", "*/*"):
        for path in sorted(folder.glob(pattern)):
            if path.name in _SAVED_MODEL:
                yield str(path.parent.relative_to(folder))
            elif any((path.parent / name).exists() for name in _SAVED_MODEL):
                continue  # a part of that SavedModel
            elif path.suffix.lower() in SUFFIXES:
                yield str(path.relative_to(folder))
