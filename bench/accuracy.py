"""INT8 accuracy of calibrant and of its peers on the same models, calibrated on the same data.

    python bench/accuracy.py [--shared ../shared/real] [--only resnet8] [--peers tflite,onnx] [--quick] [--draws 3]

Each peer runs in an environment of its own below ``.bench/``, which this script makes with pip. A peer that cannot be
installed, or fails on a model, is a row that says so. The models are not part of the project.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_models import CASES, SIX_BITS, Case, batch_count, batches_of, data_of, draw, outputs_of

import calibrant
import calibrant.graph.reading.load
from calibrant.cli.show import table
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.labels import load_labels
from calibrant.evaluation.score import Score
from calibrant.evaluation.tune import tune
from calibrant.graph.graph import Graph

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".bench"
LONGEST_SECONDS = 1800
CHOSEN = (
    "resnet8 .pb",
    "ds_cnn .pb",
    "arm DS_CNN_S",
    "arm CNN_S",
    "arm DNN_S",
    "arm LSTM_S",
    "kwt1",
    "mnist",
)
PUBLISHED = {
    "resnet8 .pb": "resnet8_cifar10/published_int8.tflite",
    "ds_cnn .pb": "ds_cnn_kws/published_int8.tflite",
}
OURS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("calibrant", {}, ""),
    ("calibrant --refine", {"refine": True}, ""),
    ("calibrant --refine --budget 10%", {"refine": True, "budget": 0.1}, ""),
    ("calibrant --refine --budget 25%", {"refine": True, "budget": 0.25}, ""),
    ("calibrant --refine --budget 50%", {"refine": True, "budget": 0.5}, ""),
    ("calibrant --refine --round-weights --budget 25%", {"refine": True, "round_weights": True, "budget": 0.25}, ""),
    ("calibrant --refine --round-weights", {"refine": True, "round_weights": True}, ""),
    ("calibrant 6 bits per tensor", {}, SIX_BITS),
    ("calibrant 6 bits per tensor --round-weights", {"round_weights": True}, SIX_BITS),
    ("calibrant 6 bits per tensor --refine --round-weights", {"refine": True, "round_weights": True}, SIX_BITS),
    ("calibrant --equalize", {"equalize": True}, ""),
    ("calibrant --equalize --refine", {"equalize": True, "refine": True}, ""),
    ("calibrant --no-bias-correction", {"bias_correction": False}, ""),
    ("calibrant, DMQ 0.5", {}, "common_config { dmq_balancer { migration_strength : 0.5 } }"),
)


@dataclass(frozen=True)
class Peer:
    """A tool to compare with.

    Parameters
    ----------
    name : in the table.
    script, arguments : of ``bench/peers``, started with the job's folder in front of the arguments.
    environment, packages : the environment below ``.bench/`` and what pip puts into it; "" for this very interpreter.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: str = ""
    packages: tuple[str, ...] = ()


ONNX = ("tf2onnx", "onnx", "onnxruntime", "tensorflow-cpu")
PEERS = (
    Peer("published INT8 model", "published.py"),
    Peer("TFLite converter", "tflite.py"),
    *(
        Peer(f"ONNX Runtime {method}", "onnx_runtime.py", (method,), "onnx", ONNX)
        for method in ("MinMax", "Entropy", "Percentile")
    ),
    Peer("NNCF on ONNX", "nncf_onnx.py", (), "nncf", (*ONNX, "nncf")),
    Peer("ai-edge-quantizer", "litert.py", (), "litert", ("ai-edge-quantizer", "tensorflow")),
)


class PeerError(Exception):
    """A peer could not be installed, or failed; the text is its row."""


def python_of(peer: Peer) -> str:
    """The interpreter that a peer runs with; makes its environment the first time."""
    if not peer.environment:
        return sys.executable
    folder = ENVIRONMENTS / peer.environment
    python = folder / "bin" / "python"
    failed, ready = folder / "failed", folder / "ready"
    if failed.exists():
        raise PeerError(failed.read_text())
    if not ready.exists():
        venv.create(folder, with_pip=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *peer.packages], capture_output=True, text=True
        )
        if done.returncode:
            failed.write_text("cannot be installed: " + last_line(done.stderr))
            raise PeerError(failed.read_text())
        ready.touch()
    return str(python)


def last_line(text: str) -> str:
    """What a failed command had to say in the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no message"


def run_peer(peer: Peer, folder: Path) -> np.ndarray:
    """The outputs of a peer's model for the job's test data."""
    outputs = folder / "outputs.npy"
    outputs.unlink(missing_ok=True)
    command = [python_of(peer), str(HERE / "peers" / peer.script), str(folder), *peer.arguments]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=quiet, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise PeerError(f"took longer than {LONGEST_SECONDS} s") from None
    if done.returncode or not outputs.exists():
        raise PeerError(last_line(done.stderr))
    return np.load(outputs)


def write_job(folder: Path, case: Case, graph: Graph, shared: Path) -> np.ndarray:
    """What every peer reads: the frozen graph, calibration and test arrays; gives the test array back."""
    (folder / "model.pb").write_bytes(graph.graph_def().SerializeToString(deterministic=True))
    arrays = {}
    for name, source in (("calibration", case.calibration), ("test", case.test)):
        batches = batches_of(graph, data_of(shared, source), case.options)
        arrays[name] = np.concatenate([np.array(batch[graph.input_keys[0]]) for batch in batches])
        np.save(folder / f"{name}.npy", arrays[name])
    published = str((shared / PUBLISHED[case.name]).resolve()) if case.name in PUBLISHED else None
    names = {"input": graph.inputs[0], "output": graph.outputs[0]}
    job = {key: tensor.removesuffix(":0") for key, tensor in names.items()}
    (folder / "job.json").write_text(json.dumps({**job, "published": published}))
    return arrays["test"]


def tools(
    case: Case, shared: Path, peers: list[Peer], tuned: bool, ours: str
) -> Iterator[tuple[str, np.ndarray | str]]:
    """(tool, outputs or why there are none), the float model first."""
    calibration = data_of(shared, case.calibration)
    count = batch_count(case, shared, calibration)
    original = calibrant.graph.reading.load.load(str(shared / case.model), case.inputs)
    test = data_of(shared, case.test)
    yield "float", outputs_of(original, batches_of(original, test, case.options))
    for name, switches, more in OURS:
        if ours and name not in ours.split(","):
            continue
        config = f"batch_num : {count}  {more}"
        result = calibrant.quantize(original, config, calibration, **switches, **case.options)
        yield name, outputs_of(result.fakequant, batches_of(original, test, case.options))
    if tuned:
        found = tune(
            original,
            f"batch_num : {count}",
            calibration,
            tolerance=0,
            thorough=True,
            layers_in_float=False,
            **case.options,
        )
        result = calibrant.quantize(original, found.configuration, calibration, **case.options)
        yield (
            "calibrant, tuned on the calibration data",
            outputs_of(result.fakequant, batches_of(original, test, case.options)),
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_job(folder, case, original, shared)
        for peer in peers:
            try:
                yield peer.name, run_peer(peer, folder)
            except PeerError as error:
                yield peer.name, str(error)


def rows_of(case: Case, shared: Path, peers: list[Peer], tuned: bool, ours: str) -> list[dict[str, Any]]:
    """A row per tool."""
    labels = load_labels(str(shared / case.labels)) if case.labels else None
    reference, rows = None, []
    for name, outputs in tools(case, shared, peers, tuned, ours):
        row: dict[str, Any] = {"model": case.name, "tool": name}
        if isinstance(outputs, str):
            rows.append({**row, "remark": outputs})
            continue
        outputs = outputs.reshape(len(outputs), -1)
        reference = outputs if reference is None else reference
        count = min(len(outputs), len(reference))
        board = Scoreboard(["float", name], case.ignore)
        board.update([reference[:count], outputs[:count]], labels[:count] if labels is not None else None)
        divergence = mean_divergence(reference[:count], outputs[:count])
        rows.append({**row, **numbers(*board.scores()), "divergence": divergence})
    return rows


def mean_divergence(reference: np.ndarray, outputs: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of the classes' probabilities, in millinats."""
    first, second = (probabilities(values.astype(np.float64)) for values in (reference, outputs))
    return 1000 * float((first * (np.log(first) - np.log(second))).sum(axis=1).mean())


def probabilities(values: np.ndarray) -> np.ndarray:
    """What a network says of the classes, as probabilities; logits if they do not add up to 1."""
    if not (values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-2)):
        values = np.exp(values - values.max(axis=1, keepdims=True))
    values = np.maximum(values, 1e-12)
    return values / values.sum(axis=1, keepdims=True)


def over_draws(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean of each number over the sets of calibration samples, and its spread (standard deviation)."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["tool"]), []).append(row)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[dict[str, Any]]) -> dict[str, Any]:
    joined = dict(group[0])
    for key, value in group[0].items():
        if isinstance(value, float):
            values = [row[key] for row in group if key in row]
            joined[key] = float(np.mean(values))
            joined[f"{key}_spread"] = (
                float(np.std(values, ddof=1)) if len(values) > 1 and np.isfinite(values).all() else 0.0
            )
    return joined


def numbers(reference: Score, score: Score) -> dict[str, Any]:
    """The columns of a row; shares in percent."""
    lost = None if score.top1 is None else 100 * (reference.top1 - score.top1)
    return {
        "samples": score.samples,
        "top1": None if score.top1 is None else 100 * score.top1,
        "lost": lost,
        "agreement": None if score.agreement is None else 100 * score.agreement,
        "sqnr_db": score.sqnr_db,
    }


def _number(row: dict[str, Any], key: str, spread: bool) -> str | None:
    if row.get(key) is None:
        return None
    return f"{row[key]:.2f}" + (f"±{row[f'{key}_spread']:.2f}" if spread else "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=HERE.parents[1] / "shared" / "real")
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    parser.add_argument("--peers", default="", help="only the peers whose name contains one of these: A,B")
    parser.add_argument("--ours", default="", help="only these rows of calibrant, by their whole names: A,B")
    parser.add_argument("--draws", type=int, default=1, help="sets of 64 calibration samples; means and spreads")
    parser.add_argument("--quick", action="store_true", help="without the row that is tuned, which takes minutes")
    parser.add_argument("--out", type=Path, help="write the rows as JSON as well")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        raise SystemExit(f"{arguments.shared}: there are no real models; give their folder with --shared")
    words = [word.strip().lower() for word in arguments.peers.split(",")]
    peers = [peer for peer in PEERS if any(word in peer.name.lower() for word in words)]
    rows = []
    for case in CASES:
        if case.name not in CHOSEN or arguments.only not in case.name:
            continue
        for number in range(arguments.draws):
            drawn = draw(case, number, arguments.draws)
            rows += rows_of(drawn, arguments.shared, peers, not arguments.quick, arguments.ours)
            print(f"{case.name}: draw {number + 1} of {arguments.draws}", file=sys.stderr, flush=True)
    rows = over_draws(rows)
    columns = ("model", "tool", "samples", "lost", "agreement %", "SQNR dB", "KL 1e-3", "")
    keys = ("lost", "agreement", "sqnr_db", "divergence")
    shown = [
        (
            row["model"],
            row["tool"].removeprefix("calibrant "),
            row.get("samples"),
            *(_number(row, key, arguments.draws > 1) for key in keys),
            row.get("remark", ""),
        )
        for row in rows
    ]
    table(f"INT8 accuracy, {arguments.draws} × 64 calibration samples", columns, shown)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
