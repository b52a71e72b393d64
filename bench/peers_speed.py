"""Time and memory of calibrant and of its peers on the same network and the same samples, in one run.

    python bench/peers_speed.py [--repetitions 3] [--models mobilenet_v2] [--only onnx,calibrant] [--samples 32]

Keras applications with random weights. Each peer runs in an environment of its own below ``.bench/``, which is made
with pip the first time; a peer that cannot be installed, or fails, is a row that says so. Each run is a process of its
own; all take turns, round after round, and medians are reported. One that took more than half a minute runs once.
The network, and what peers convert it to, stay in ``.bench/jobs/``.

``quantize`` is the time from a float model and samples in memory to a quantized model: no imports, no reading of
models, no conversion to ONNX or .tflite. ``calibrate`` is the part of it that runs the samples and finds the ranges,
for tools that let it be seen. Peers get single samples, as their documentation shows it, where batches are not said;
calibrant gets batches of 16, and its time includes writing all files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import ENVIRONMENTS, HERE, LONGEST_SECONDS, ONNX, Peer, PeerError, last_line, python_of
from memory import apart
from results import everything, store

from calibrant.cli.show import table
from calibrant.graph.reading.load import load

MODELS = {"mobilenet_v2": "MobileNetV2", "resnet50": "ResNet50"}
ONCE_SECONDS = 30
OURS = "calibrant"
SEARCH, MIN_MAX = "search", "min-max"
HFMG = "common_config { hfmg_quantize { } }"
TORCH = "torch==2.13.0"  # later ones come with gigabytes of CUDA
PEERS: tuple[tuple[Peer, str], ...] = (
    (Peer(f"{OURS} IFMR", "speed_calibrant.py", ("",)), SEARCH),
    (Peer(f"{OURS} HFMG", "speed_calibrant.py", (HFMG,)), SEARCH),
    *(
        (Peer(f"ONNX Runtime {method}", "speed_onnx_runtime.py", (method, "1"), "onnx", ONNX), kind)
        for method, kind in (("MinMax", MIN_MAX), ("Percentile", SEARCH), ("Entropy", SEARCH))
    ),
    (Peer("NNCF on ONNX", "speed_nncf.py", (), "nncf", (*ONNX, "nncf")), MIN_MAX),
    (Peer("ai-edge-quantizer", "speed_litert.py", (), "litert", ("ai-edge-quantizer", "tensorflow")), MIN_MAX),
    (Peer("TFLite converter", "speed_tflite.py", (), "onnx", ONNX), MIN_MAX),
    *(
        (Peer(f"AIMET-ONNX {scheme}", "speed_aimet.py", (scheme, "1"), "aimet", (TORCH, *ONNX, "aimet-onnx")), kind)
        for scheme, kind in (("min_max", MIN_MAX), ("tf_enhanced", SEARCH))
    ),
    *(
        (
            Peer(
                f"Neural Compressor {algorithm}, batches of 16",
                "speed_neural_compressor.py",
                (algorithm, "16"),
                "inc",
                ("tensorflow-cpu", "neural-compressor-tf"),
            ),
            kind,
        )
        for algorithm, kind in (("minmax", MIN_MAX), ("kl", SEARCH))
    ),
    (
        Peer(
            "Sony MCT, batches of 16",
            "speed_mct.py",
            ("16",),
            "mct",
            ("tensorflow-cpu==2.15.1", "model-compression-toolkit"),
        ),
        SEARCH,
    ),
)


def write_job(folder: Path, application: str, samples: int) -> None:
    """What every peer reads: the frozen graph, the samples, the names of input and output."""
    import keras

    keras.utils.set_random_seed(1)
    graph = load(getattr(keras.applications, application)(weights=None))
    (folder / "model.pb").write_bytes(graph.serialized())
    shape = (samples, *graph.shape(graph.inputs[0])[1:])
    np.save(folder / "calibration.npy", np.random.default_rng(1).standard_normal(shape, np.float32))
    names = {"input": graph.inputs[0], "output": graph.outputs[0]}
    job = {key: tensor.removesuffix(":0") for key, tensor in names.items()}
    (folder / "job.json").write_text(json.dumps({**job, "application": application}))


def run(peer: Peer, folder: Path) -> dict[str, Any]:
    """Seconds and megabytes of one run.

    Raises
    ------
    PeerError : it cannot be installed or failed.
    """
    measured = folder / "speed.json"
    measured.unlink(missing_ok=True)
    command = [python_of(peer), str(HERE / "peers" / peer.script), str(folder), *peer.arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if peer.environment:
        environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=folder, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"took longer than {LONGEST_SECONDS} s") from None
    if done.returncode or not measured.exists():
        raise PeerError(last_line(done.stderr))
    return json.loads(measured.read_text())


def measure(application: str, samples: int, repetitions: int, peers: list[tuple[Peer, str]]) -> dict[str, Any]:
    """Peer → its medians, or why there are none."""
    runs: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    folder = ENVIRONMENTS / "jobs" / f"{application}-{samples}"
    if not (folder / "job.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        apart(write_job, folder, application, samples)
    for _ in range(repetitions):
        for peer, _ in peers:
            known = runs.setdefault(peer.name, [])
            if peer.name in failed or (known and known[0]["seconds"]["quantize"] > ONCE_SECONDS):
                continue
            try:
                known.append(run(peer, folder))
            except PeerError as error:
                failed[peer.name] = str(error)
            print(f"{application}: {peer.name}", file=sys.stderr)
    return {
        name: {"kind": kind, **({"failed": failed[name]} if name in failed else medians(runs[name]))}
        for name, kind in ((peer.name, kind) for peer, kind in peers)
    }


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of what several runs of one peer measured."""
    stages = runs[0]["seconds"]
    found = {f"{stage}_s": statistics.median(each["seconds"][stage] for each in runs) for stage in stages}
    for key in ("before_mb", "peak_mb"):
        if runs[0][key] is not None:
            found[key] = statistics.median(each[key] for each in runs)
    return {**found, "runs": len(runs)}


COLUMNS = ("quantize_s", "calibrate_s", "imports_s", "model_s", "before_mb", "peak_mb", "runs")


def show(name: str, samples: int, found: dict[str, Any]) -> None:
    """Print the table of one model, and how calibrant stands in it."""
    rows = [
        (peer, row["kind"], *(_rounded(row.get(column), column) for column in COLUMNS), row.get("failed", ""))
        for peer, row in found.items()
    ]
    table(f"{name}, {samples} samples, medians", ("tool", "ranges", *COLUMNS, ""), rows)
    for line in standing(found):
        print(line)


def standing(found: dict[str, Any]) -> list[str]:
    """calibrant's time beside the fastest peer of each kind."""
    lines = []
    for kind in (SEARCH, MIN_MAX):
        others = {
            peer: row["quantize_s"]
            for peer, row in found.items()
            if row["kind"] == kind and "failed" not in row and not peer.startswith(OURS)
        }
        if not others:
            continue
        fastest = min(others, key=others.__getitem__)
        for peer, row in found.items():
            if peer.startswith(OURS) and "failed" not in row:
                ratio = row["quantize_s"] / others[fastest]
                lines.append(f"{peer}: {ratio:.2f} times {fastest}, the fastest peer with {kind}")
    return lines


def _rounded(value: float | None, column: str) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if column.endswith("_s") else f"{value:.0f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--models", default=",".join(MODELS), help="which of them: A,B")
    parser.add_argument("--only", default="", help="only the tools whose name contains one of these: A,B")
    arguments = parser.parse_args()
    words = [word.strip().lower() for word in arguments.only.split(",")]
    peers = [(peer, kind) for peer, kind in PEERS if any(word in peer.name.lower() for word in words)]
    found = everything().get("peers", {})
    for name in arguments.models.split(","):
        measured = measure(MODELS[name], arguments.samples, arguments.repetitions, peers)
        show(name, arguments.samples, measured)
        found[name] = {**found.get(name, {}), **measured}
        store({"peers": found})


if __name__ == "__main__":
    main()
