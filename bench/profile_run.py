"""Where the time of a calibration goes, as perf sees it.

    python bench/profile_run.py [--model resnet50] [--batches 8] [--symbols 15]

Linux's perf watches this process during plain inference and during calibration, not while it makes the network. Its
samples are counted by what was going on. Code that is made while running has no names, so convolutions and the loops
that observe fall together; their difference between the two runs is the observing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from results import store
from speed import IFMR, observed, observer_of, prepared, searched

from calibrant.cli.show import table
from calibrant.graph.running.run import Runner

RATE = 199  # samples a second
# What a sample belongs to: the first row of which a word is in "library|symbol", in lower case.
KINDS = (
    (
        "waiting and spinning for work",
        ("runqueue", "spin", "steal", "nonemptyqueue", "sched_yield", "waitforwork", "eventcount"),
    ),
    ("TensorFlow's and oneDNN's kernels", ("gemm", "gebp", "eigen", "mkl", "dnnl", "conv", "contract", "im2col")),
    ("made while running: oneDNN's convolutions", ("made while running",)),
    ("calibrant's own library", ("calibrant", "_native.")),
    ("copying and clearing memory", ("memcpy", "memmove", "memset", "clear_page", "copy_page", "clear_huge")),
    ("page faults and other kernel work", ("kernel", "[k]")),
    ("Python and NumPy", ("libpython", "python3", "numpy", "multiarray", "_umath")),
    ("TensorFlow, everything else", ("tensorflow", "libtensorflow", "pywrap")),
)
OTHER = "everything else"


def record(model: str, batches: int, output: Path) -> dict[str, float]:
    """Plain inference and calibration under perf, one file each in a folder; the seconds they took."""
    graph, tensors, data = prepared(model, batches)

    def plain() -> None:
        for batch in data:
            runner(batch)

    def calibration() -> None:
        searched(graph, observed(observer, data)[1], IFMR)

    seconds = {}
    with Runner(graph) as runner, observer_of(graph, tensors) as observer:
        plain()
        observed(observer, data[:1])
        for work in (plain, calibration):
            command = ["perf", "record", "--quiet", "-F", str(RATE), "--pid", str(os.getpid())]
            perf = subprocess.Popen([*command, "--output", str(output / work.__name__)], stderr=subprocess.DEVNULL)
            time.sleep(1)
            start = time.perf_counter()
            work()
            seconds[work.__name__] = time.perf_counter() - start
            perf.send_signal(signal.SIGINT)
            perf.wait()
    return seconds


def samples(recorded: Path) -> Counter[tuple[str, str]]:
    """(library, symbol) → samples."""
    command = ["perf", "report", "--input", str(recorded), "--stdio", "--show-nr-samples", "--percent-limit", "0"]
    done = subprocess.run(
        [*command, "--sort", "dso,sym", "--field-separator", "\t"], capture_output=True, text=True, check=True
    )
    found: Counter[tuple[str, str]] = Counter()
    for line in done.stdout.splitlines():
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 4 and not line.startswith("#"):
            library, symbol = fields[2], fields[3].removeprefix("[.] ")
            if "jit" in library.lower() and symbol.startswith("0x"):
                library, symbol = "made while running", "without a name"
            found[library, symbol] += int(fields[1])
    return found


def kind_of(library: str, symbol: str) -> str:
    """The row of the table that a sample belongs to."""
    name = f"{library}|{symbol}".lower()
    return next((kind for kind, words in KINDS if any(word in name for word in words)), OTHER)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50", help="as bench/speed.py calls it")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--symbols", type=int, default=15, help="how many single functions to list")
    arguments = parser.parse_args()
    if shutil.which("perf") is None:
        raise SystemExit("perf is not installed (Debian: linux-perf)")
    with tempfile.TemporaryDirectory() as temporary:
        seconds = record(arguments.model, arguments.batches, Path(temporary))
        found = {name: samples(Path(temporary) / name) for name in seconds}
    spent = {name: processor_seconds(counted) for name, counted in found.items()}
    kinds = sorted({kind for each in spent.values() for kind in each}, key=lambda kind: -spent["calibration"][kind])
    rows = [
        (kind, *(f"{each[kind]:.2f}" for each in (spent["plain"], spent["calibration"])), f"{more(spent, kind):+.2f}")
        for kind in kinds
    ]
    whole = ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())
    title = f"{arguments.model}, {arguments.batches} batches, {whole}; processor seconds of all threads"
    table(title, ("what", *spent, "more"), rows)
    single = [
        (f"{count / RATE:.2f}", kind_of(*name), name[0], name[1][:80])
        for name, count in found["calibration"].most_common(arguments.symbols)
    ]
    table("single functions of the calibration", ("seconds", "counted as", "library", "function"), single)
    store({"profile": {kind: {name: spent[name][kind] for name in spent} for kind in kinds}})


def processor_seconds(counted: Counter[tuple[str, str]]) -> Counter[str]:
    """Row of the table → seconds."""
    found: Counter[str] = Counter()
    for name, count in counted.items():
        found[kind_of(*name)] += count / RATE
    return found


def more(spent: dict[str, Counter[str]], kind: str) -> float:
    """What calibration spends more than plain inference."""
    return spent["calibration"][kind] - spent["plain"][kind]


if __name__ == "__main__":
    main()
