"""LiteRT files of many networks beside the full-integer files of TensorFlow's own converter, as Markdown tables.

    python bench/tflite_models.py [--groups operators,applications] [--only ResNet50,vit] [--rows rows.jsonl]

Each network is exported and verified, and converted once more by TensorFlow with the same samples as representative
data, in a child process that may take ``--seconds``. Two numbers in a cell are ours and the stock file's: operators on
integers of all operators (those that change only the type left out), kB, milliseconds of one sample on one thread (the
two files taking turns), signal-to-noise of the outputs against the float model in dB. Biases are not corrected, as
TensorFlow does not do so either. Where full-integer conversion fails, stock is the converter's mixed file (*).
``--rows`` keeps every row, and what it has is not measured again. ``operators``, ``real`` and ``wild`` need the folder
``--shared``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from children import answer, rows
from tflite_cases import GROUPS, PLACES, SAMPLES, case, names
from tflite_measure import measure

COLUMNS = ("network", "verify", "on integers", "kB", "ms", "dB")
EQUAL = 199.0
WORSE_BY = 1.0
"""dB below the stock file that are worth a word."""


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of a table."""

    def pair(key: str, form: Callable[[Any], str]) -> str:
        found = [row.get(f"{side}_{key}") for side in ("ours", "stock")]
        return " ".join("–" if value is None else form(value) for value in found)

    mixed = "*" if row.get("how") == "mixed" else ""
    return (
        row["name"].rpartition("/")[2],
        row.get("verify", "no file"),
        pair("integers", lambda value: f"{value[0]}/{value[1]}") + mixed,
        *(pair("bytes", lambda value: f"{value / 1000:.0f}"), pair("ms", "{:.2f}".format)),
        pair("db", decibels),
    )


def network_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each network."""
    yield f"|{'|'.join(COLUMNS)}|\n|{'---|' * len(COLUMNS)}"
    yield from (f"|{'|'.join(cells(row))}|" for row in found)


def operator_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each operator: dB of both files, in the middle and at the end."""
    yield "|operator|dB in the middle|stock|dB at the end|stock|\n|---|---|---|---|---|"
    by_name = {row["name"]: row for row in found}
    for operator in dict.fromkeys(name.rpartition(":")[0] for name in by_name):
        places = [by_name.get(f"{operator}:{place}", {}) for place in PLACES]
        values = [decibels(row.get(f"{side}_db")) for row in places for side in ("ours", "stock")]
        yield f"|{operator}|{'|'.join(values)}|"


def decibels(value: float | None) -> str:
    """Signal-to-noise; 200 stands for equal outputs."""
    return "–" if value is None else "equal" if value >= EQUAL else f"{value:.1f}"


def remarks(row: Mapping[str, Any]) -> list[str]:
    """What a reader of the table has to know."""
    found = [f"{side}{row[key]}" for key, side in PROBLEMS.items() if key in row]
    ours, stock = row.get("ours_db"), row.get("stock_db")
    if ours is not None and stock is not None and ours < stock - WORSE_BY:
        simulated = decibels(row.get("fakequant_db"))
        found.append(f"{stock - ours:.1f} dB below the stock file; NAME_fakequant.pb has {simulated}")
    return found


PROBLEMS = {
    "problem": "",
    "ours_runs": "does not run: ",
    "stock_problem": "stock fails: ",
    "stock_runs": "the stock file does not run: ",
}


def main() -> None:
    """Print a table per group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--groups", default="applications,modern,more,real,wild", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--only", help="networks, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--seconds", type=int, default=900, help="time that one network may take")
    parser.add_argument("--rows", type=Path, help="rows of an earlier run, JSON lines; new ones are added")
    parser.add_argument("--dense-per-channel", action="store_true", help="as the stock converter does")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of a network, not of an operator")
    parser.add_argument("--refine", action="store_true", help="where it would help, as the command does by default")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        found = functools.partial(case, options.child, shared=options.shared, seed=options.seed, count=options.samples)
        refine = None if options.refine else False
        answer(options.answer, lambda name: measure(found(name), options.dense_per_channel, refine))
        return
    command = [sys.executable, __file__, "--shared", str(options.shared), "--seed", str(options.seed)]
    command += ["--samples", str(options.samples)]
    command += ["--dense-per-channel"] if options.dense_per_channel else []
    command += ["--refine"] if options.refine else []
    for group in options.groups.split(","):
        wanted = [name for name in names(group, options.shared) if not options.only or name in options.only.split(",")]
        together = 20 if group == "operators" else 1
        found = []
        for row in rows([*command, "--child", group], wanted, options.seconds, together, options.rows):
            found.append(row)
            print(*cells(row), *remarks(row), sep="  ", file=sys.stderr, flush=True)
        print(f"\n## {group}\n")
        print(*(operator_table(found) if group == "operators" else network_table(found)), sep="\n")
        for row in found:
            for remark in remarks(row):
                print(f"- {row['name']}: {remark}")


if __name__ == "__main__":
    main()
