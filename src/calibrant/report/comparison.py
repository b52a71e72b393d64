"""Two results side by side: what changed in the run, its configuration, quantization parameters and dB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibrant.errors import DataError, Problem
from calibrant.json_text import read_json
from calibrant.publish.write import finish_earlier_run
from calibrant.regular_file import require_regular
from calibrant.report.damage import damage_by_layer

READ = ("report.json", "config.json")
TOTALS = (
    ("quantized_layers", "layers quantized"),
    ("layers_left_in_float", "layers left in float"),
    ("quantized_weights", "weights on integers"),
    ("quantized_multiply_accumulates", "multiply-accumulates on integers"),
    ("fusions", "fusions"),
)
PARTS = ("weights", "bias", "balance")
"""What a layer has beside its inputs."""
RUNS = (
    ("model_sha256", "model SHA-256"),
    ("data_fingerprint", "data"),
    ("samples", "calibration samples"),
    ("version", "version of calibrant"),
)


_TWO_FOLDERS = "give two folders that calibrant quantize has written"


def compare_folders(first: Path, second: Path) -> dict[str, Any]:
    """What differs between two results, see :func:`compare_runs`.

    Raises
    ------
    DataError
        A folder lacks ``report.json`` or ``config.json``, or what they hold is damaged.
    """
    runs = read_run(first), read_run(second)
    try:
        return compare_runs(*runs)
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = Problem("one of the two reports is damaged", file=f"{first}, {second}", hint=_TWO_FOLDERS)
        raise DataError(problem) from None


def read_run(folder: Path) -> dict[str, Any]:
    """The report of a result, and its configuration as ``configuration``.

    Raises
    ------
    DataError
        The folder has no ``report.json`` or ``config.json`` that can be read.
    """
    finish_earlier_run(folder)
    parts = {}
    for name in READ:
        path = folder / name
        require_regular(path, DataError)
        try:
            parts[name] = read_json(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or f"not JSON: {error}"
            raise DataError(Problem(f"cannot be read: {reason}", file=str(path), hint=_TWO_FOLDERS)) from None
        if not isinstance(parts[name], dict):
            raise DataError(Problem("holds no object", file=str(path), hint="it was not written by calibrant quantize"))
    missing = {"layers", "totals"} - parts["report.json"].keys()
    if missing:
        message = f"has no {', '.join(sorted(missing))}"
        raise DataError(Problem(message, file=str(folder / "report.json"), hint="it was not written by calibrant"))
    return {**parts["report.json"], "configuration": parts["config.json"]}


def compare_runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What differs, as plain values; equal things are left out of every list but ``totals`` and ``outputs``.

    What only one of the reports has, as the data of a run that was not merged, is not compared.

    Returns
    -------
    dict[str, Any]
        ``same``: whether both are the same quantized model, however it was made; ``runs``: ``what``, ``first``,
        ``second`` for what the runs were made of, and their options; ``totals``: the same for counts, ``outputs``: in
        dB; ``configuration``: ``setting``, ``first``, ``second``; ``layers``: ``layer``, ``input``, both scales,
        offsets and dB, and what of it changed, the largest loss first; ``only_first`` and ``only_second``: layers
        quantized in one of them.
    """
    found = _differences(first, second)
    changes = [row for row in found["runs"] if row["what"] == dict(RUNS)["model_sha256"]]
    changes += [row for row in found["totals"] if row["first"] != row["second"]]
    changes += [row for row in found["outputs"] if None not in row.values() and row["first"] != row["second"]]
    for key in ("configuration", "layers", "only_first", "only_second"):
        changes += found[key]
    return {"same": not changes, **found}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    totals = [{"what": text, "first": first["totals"].get(k), "second": second["totals"].get(k)} for k, text in TOTALS]
    outputs = [run.get("run", {}).get("output_sqnr_db") or {} for run in (first, second)]
    settings = [dict(_flattened(run["configuration"])) for run in (first, second)]
    names = [{row["layer"] for row in run["layers"]} for run in (first, second)]
    return {
        "runs": _runs(first.get("run") or {}, second.get("run") or {}),
        "totals": totals,
        "outputs": [
            {"what": key, "first": outputs[0].get(key), "second": outputs[1].get(key)}
            for key in dict.fromkeys([*outputs[0], *outputs[1]])
        ],
        "configuration": [
            {"setting": path, "first": settings[0].get(path), "second": settings[1].get(path)}
            for path in dict.fromkeys([*settings[0], *settings[1]])
            if settings[0].get(path) != settings[1].get(path)
        ],
        "layers": _layers(first, second),
        "only_first": sorted(names[0] - names[1]),
        "only_second": sorted(names[1] - names[0]),
    }


def _runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What differs of that which both runs tell."""
    options = [run.get("options") or {} for run in (first, second)]
    pairs = [(text, first.get(key), second.get(key)) for key, text in RUNS]
    pairs = [(text, one, other) for text, one, other in pairs if one is not None and other is not None]
    pairs += [(f"option {name}", options[0][name], options[1][name]) for name in options[0] if name in options[1]]
    return [{"what": text, "first": one, "second": other} for text, one, other in pairs if one != other]


def _layers(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    damages = [damage_by_layer(run) for run in _measured_alike(first, second)]
    stored = [{row["layer"]: row for row in run["layers"]} for run in (first, second)]
    inputs = [
        {(row["layer"], entry["index"]): entry for row in run["layers"] for entry in row["inputs"]}
        for run in (first, second)
    ]
    rows = []
    for key in inputs[0]:
        if key not in inputs[1]:
            continue
        one, other = inputs[0][key], inputs[1][key]
        row = {"layer": key[0], "input": key[1]}
        for name, entry, damage in (("first", one, damages[0]), ("second", other, damages[1])):
            row |= {f"{name}_scale": entry["scale"], f"{name}_offset": entry["offset"]}
            row[f"{name}_db"] = damage.get(key[0])
        changed = [part for part in ("scale", "offset", "db") if row[f"first_{part}"] != row[f"second_{part}"]]
        changed += [part for part in PARTS if stored[0][key[0]].get(part) != stored[1][key[0]].get(part)]
        if changed:
            rows.append({**row, "changed": changed})
    return sorted(rows, key=lambda row: (row["second_db"] or 0.0) - (row["first_db"] or 0.0))


def _measured_alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Both reports without the measurements of layers that only one of them has, which are other dB."""
    both = all(run.get("sensitivity") for run in (first, second))
    growth = [
        {(row["layer"], row["index"]): row for row in run.get("error_growth", {}).get("inputs", ())}
        for run in (first, second)
    ]
    shared = growth[0].keys() & growth[1].keys()
    return [
        {
            **run,
            "sensitivity": run["sensitivity"] if both else None,
            "error_growth": {"inputs": [row for key, row in rows.items() if key in shared]},
        }
        for run, rows in zip((first, second), growth, strict=True)
    ]


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and any(isinstance(inner, (dict, list)) for inner in value):
        for place, inner in enumerate(value):
            yield from _flattened(inner, f"{path}[{place}]")
    else:
        yield path, value
