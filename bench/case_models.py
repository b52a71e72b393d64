"""The models that a script of small cases builds, as files; called by ``doors.py``.

    python case_models.py SCRIPT FOLDER

The script runs statement by statement, but nothing is quantized: each model that it would hand to ``calibrant`` is
copied to FOLDER instead, and so is each that it has only written. Statements that need what a command would have
written are skipped. ``FOLDER/models.json`` lists them: name, path, the tensors that the
script names, and, in the last row, how the script ended.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

PUBLIC = {  # what scripts call in Python; each takes the model first
    "calibrant": ["quantize"],
    "calibrant.graph": [],
    "calibrant.graph.reading.load": ["load"],
    "calibrant.graph.layers": ["find_layers"],
    "calibrant.fold": [],
    "calibrant.fold.folding": ["fold"],
    "calibrant.evaluation": [],
    "calibrant.evaluation.verify": ["verify"],
}
SUFFIXES = (".pb", ".pbtxt", ".h5", ".hdf5", ".keras")


class Collected:
    """Models in the order in which the script built them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.known = folder, [], set()
        self.in_memory: list[Any] = []

    def add(self, model: Any, label: str = "", **named: str | None) -> None:
        """Copy a model, unless it is one that is there already."""
        if isinstance(model, (str, Path)):
            self._copy(Path(model).resolve(), label, named)
            return
        if any(model is known for known in self.in_memory):
            return
        self.in_memory.append(model)
        place = self.folder / f"{len(self.rows):03}"
        place.mkdir()
        if hasattr(model, "SerializeToString"):
            (place / "graph.pb").write_bytes(model.SerializeToString())
            self._row(place / "graph.pb", label or "graph", named)
        else:
            path = place / ("model.h5" if type(model).__module__.startswith("tf_keras") else "model.keras")
            model.save(path)
            self._row(path, label or model.name, named)

    def _copy(self, path: Path, label: str, named: dict[str, str | None]) -> None:
        kind = json.dumps([str(path), named.get("inputs"), named.get("outputs"), named.get("signature")])
        if not path.exists() or (content := digest(path) + kind) in self.known:
            return
        self.known.add(content)
        place = self.folder / f"{len(self.rows):03}"
        place.mkdir()
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place / path.name)
        self._row(place / path.name, label or path.name, named)

    def _row(self, path: Path, label: str, named: dict[str, str | None]) -> None:
        self.rows.append({"name": f"{label} {len(self.rows)}", "path": str(path), **named})
        self.write()

    def write(self, ended: str = "was killed") -> None:
        """The list so far."""
        (self.folder / "models.json").write_text(json.dumps([*self.rows, {"ended": ended}], indent=1))


def digest(path: Path) -> str:
    """Of the content of a file, or of all files of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def words_to_row(words: list[str]) -> dict[str, str | None]:
    """The options of a command that choose tensors."""
    options = {f"--{name}": name for name in ("inputs", "outputs", "signature")}
    pairs = zip(words, words[1:], strict=False)
    return {options[word]: value for word, value in pairs if word in options}


def main() -> None:
    """Run the script and write the list."""
    script, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    sys.path.insert(0, str(script.parent))
    Path("mini").mkdir(exist_ok=True)
    collected = Collected(folder)

    def check(name: str, model: Any, *_: Any, **options: Any) -> dict[str, Any]:
        collected.add(model, name, **{key: options.get(key) for key in ("inputs", "outputs")})
        Path("out").mkdir(exist_ok=True)  # scripts remove it
        return {"io": [], "rc": 0}

    def cli(*words: Any, **_: Any) -> tuple[int, str, str, float]:
        for word in words[1:2]:
            collected.add(str(word), **words_to_row([str(each) for each in words]))
        return 0, "[]", "", 0.0

    def keep(model: Any, *more: Any, **_: Any) -> None:
        named = more[1] if len(more) == 2 and isinstance(more[1], list) else None
        local = sys._getframe(1).f_locals
        label = next((local[key] for key in ("n", "name") if isinstance(local.get(key), str)), "")
        collected.add(model, label, outputs=",".join(named) if named else None)
        raise NotImplementedError("the model has been kept")

    import common
    import tensorflow as tf

    tf.lite.TFLiteConverter.from_keras_model = keep  # nothing is converted either
    common.check, common.cli, common.peer = check, cli, lambda *_, **__: None
    for name, functions in PUBLIC.items():
        sys.modules[name] = types.ModuleType(name)
        for function in functions:
            setattr(sys.modules[name], function, keep)
    sys.argv = [str(script)]
    skipped = []
    space: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    for statement in ast.parse(script.read_text()).body:
        try:
            exec(compile(ast.Module([statement], []), str(script), "exec"), space)
        except Exception as error:
            skipped.append(f"line {statement.lineno}: {type(error).__name__}: {error}"[:120])
    ended = f"{len(skipped)} statements skipped ({'; '.join(skipped)})" if skipped else "ended"
    home = Path(os.environ["CASES_WORK"])
    for file in sorted(path for path in home.rglob("*") if path.suffix in SUFFIXES):
        saved_model = (file.parent / "saved_model.pb").exists()
        if file.name == "saved_model.pb" or not saved_model:
            collected.add(file.parent if saved_model else file)
    collected.write(ended)


if __name__ == "__main__":
    main()
