"""Whether ``calibrant tune`` keeps as few layers in float as trying all sets of them would.

    python bench/tuning.py [--shared ../shared/real] [--only ds_cnn]

Two cases that lose more than the tolerance of 0.5 points as they are: ds_cnn with weights of 6 bits and one scale a
tensor, and resnet8 with channels that were scaled apart by 2^-4 ... 2^4 between two layers (the float network computes
the same), one scale a tensor. The search runs as it is, and with nothing but leaving layers in float; then all smaller
sets of layers in float than it found are tried, by their size, until one meets the tolerance. The file that the search
writes is read again and quantizes the model once more. Accuracy is that of the test samples, which the search sees:
what is asked here is whether it finds what is there.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_models import CASES, data_of

import calibrant
from calibrant.cli.show import table
from calibrant.config import load_config
from calibrant.evaluation.candidate import MUTATIONS, Candidate, configuration_for
from calibrant.evaluation.labels import load_labels
from calibrant.evaluation.trials import TrialPool, TrialSetup
from calibrant.evaluation.tune import Tuned, tune
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.steps.graph_info import graph_info
from calibrant.steps.plan import make_plan

HERE = Path(__file__).resolve().parent
TOLERANCE = 0.005
APART = 4.0  # powers of two
SIX_BITS = """batch_num : 4
common_config { arq_quantize { channel_wise : false } }
override_layer_types {
    layer_type : "Conv2D"
    calibration_config { arq_quantize { quant_bits : 6 channel_wise : false } }
}
"""
PER_TENSOR = "batch_num : 4 common_config { arq_quantize { channel_wise : false } }"


@dataclass(frozen=True)
class Question:
    """A model, where the search starts, and what it is measured on."""

    model: Graph
    config: str
    data: str
    test: str
    labels: np.ndarray


def scaled_apart(model: Graph) -> Graph:
    """The folded graph with the channels between layers scaled by random factors, where only a Relu lies between."""
    graph = fold(model).graph
    layers, _ = find_layers(graph)
    edit, random = graph.edit(), np.random.default_rng(3)
    weights = {layer.name: np.array(graph.constant(_weights(graph, layer))) for layer in layers if layer.constant}
    biases: dict[str, np.ndarray] = {}
    for layer in layers:
        reader = graph.only_consumer(layer.bias) if layer.bias else None
        following = graph.only_consumer(reader[0].name) if reader and reader[0].op == "Relu" else None
        if following is None or following[0].name not in weights or {layer.type, following[0].op} != {"Conv2D"}:
            continue
        factors = 2.0 ** random.uniform(-APART, APART, weights[layer.name].shape[-1])
        weights[layer.name] *= factors
        weights[following[0].name] /= factors[:, None]
        biases[layer.bias] = graph.constant(nd.data_inputs(graph.nodes[layer.bias])[1]) * factors
    for layer in layers:
        if layer.name in weights:
            value = weights[layer.name].astype(np.float32)
            edit.set_input(layer.name, layer.weight_input, edit.add_constant(f"{layer.name}/apart", value))
    for name, value in biases.items():
        edit.set_input(name, 1, edit.add_constant(f"{name}/apart", value.astype(np.float32)))
    return edit.finish()


def _weights(graph: Graph, layer: Any) -> str:
    return nd.data_inputs(graph.nodes[layer.name])[layer.weight_input]


def questions(shared: Path) -> Iterator[tuple[str, Question]]:
    """The cases by name."""
    for name, config, prepare in (
        ("ds_cnn", SIX_BITS, lambda graph: graph),
        ("resnet8", PER_TENSOR, scaled_apart),
    ):
        case = next(case for case in CASES if case.name == f"{name} .pb")
        model = prepare(load(str(shared / case.model)))
        data, test = (data_of(shared, source) for source in (case.calibration, case.test))
        yield name, Question(model, config, data, test, load_labels(str(shared / case.labels)))


def fewest(question: Question, found: int) -> tuple[int, int]:
    """The size of the smallest set of layers in float that meets the tolerance, and how many sets were tried.

    Only sets smaller than the one that was found are.
    """
    configuration = load_config(question.config)
    plan = make_plan(configuration, graph_info(question.model, question.model)[0], question.model)
    names = [entry.name for entry in plan.layers]
    tried = 0
    with TrialPool(TrialSetup(question.model, question.data, question.test, {0: question.labels}), 2) as pool:
        for size in range(found):
            choices = [Candidate(plan.layers).with_float(set(chosen)) for chosen in itertools.combinations(names, size)]
            tried += len(choices)
            outcomes = pool.run([(configuration_for(configuration, plan, choice), False) for choice in choices])
            if min(outcome.loss for outcome in outcomes) <= TOLERANCE:
                return size, tried
    return found, tried


def again(question: Question, found: Tuned) -> float:
    """The loss of the model that the written file quantizes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tuned.cfg"
        file.write_text(found.text)
        result = calibrant.quantize(question.model, file, question.data)
    first, second = calibrant.evaluate([question.model, result.fakequant], question.test, question.labels)
    return first.top1 - second.top1


def rows_of(name: str, question: Question) -> list[tuple[Any, ...]]:
    """The rows of one case."""
    rows = []
    for what, repairs in (("with repairs", MUTATIONS), ("layers in float only", ())):
        found = tune(
            question.model,
            question.config,
            question.data,
            tolerance=TOLERANCE,
            test_data=question.test,
            labels=question.labels,
            repairs=repairs,
            workers=2,
        )
        points = map(_points, (found.tried[0].outcome.loss, found.outcome.loss, again(question, found)))
        rows.append((name, what, *points, len(found.in_float), len(found.tried)))
    size, tried = fewest(question, len(found.in_float))
    rows.append((name, "all smaller sets", None, None, None, size, tried))
    return rows


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared" / "real")
    parser.add_argument("--only", default="", help="only the case whose name contains this")
    arguments = parser.parse_args()
    rows = [
        row
        for name, question in questions(arguments.shared)
        if arguments.only in name
        for row in rows_of(name, question)
    ]
    columns = ("case", "search", "as given", "lost, points", "from its file", "layers in float", "tried")
    table(f"tolerance {100 * TOLERANCE:g} points", columns, rows)


if __name__ == "__main__":
    main()
