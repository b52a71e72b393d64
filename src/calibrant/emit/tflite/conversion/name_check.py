"""Checking that tensors of a float file have the numbers of the tensors of the graph that they stand for.

Names are all that the converter says. Where it makes several operators of one node, a tensor within may have the name
of the node, and would get the scale of other numbers. Its outputs have to be those of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from calibrant.emit.tflite.conversion.cut_hints import cut_hint
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.far_outputs import FAR, far_apart
from calibrant.emit.tflite.sample import as_batch, as_fed, fits, takes
from calibrant.emit.tflite.trial import tried
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.running.run import readable, run_once
from calibrant.graph.tf_core import dtypes
from calibrant.progress import LOG

MOVE = 1e-6
"""Relative change of inputs and weights, as much as rounding makes on the way."""
MOVES = 4
NEAR = 40.0
"""dB of SQNR that a float file has at least: its kernels compute in float32, in another order."""
MARGIN = 20.0
"""dB that a file may be worse than moved inputs make the graph."""
CLOSE = 0.01
"""Relative difference up to which two numbers are the same one, computed in another order."""
SELECTING = frozenset(
    {*(f"NonMaxSuppressionV{version}" for version in (2, 3, 4, 5)), "NonMaxSuppression", "CombinedNonMaxSuppression"}
)
RANKING = SELECTING | {
    *("TopK", "TopKV2", "ArgMax", "ArgMin"),
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"),
}
"""Operations whose result is another one where rounding swaps two numbers."""
LATER = 8
"""How many further samples tell a tie in the first one from a file of other numbers."""
FEWEST = 4
"""With fewer of them, nothing is told."""
TIED = 0.25
"""Share of these samples that may have ties."""


class OtherNumbersError(ModelError):
    """The converter has made a file of other numbers."""


def without_wrong_names(made: FloatFile, graph: Graph, sample: Mapping[int, np.ndarray]) -> FloatFile:
    """Run the file and the graph, and forget the names of tensors within that have other numbers in the two.

    Parameters
    ----------
    made : FloatFile
        Of the graph.
    graph : Graph
        What was converted.
    sample : Mapping[int, np.ndarray]
        Inputs by position, which the file takes.

    Returns
    -------
    FloatFile
        The same file; all names where the graph does not take the sample.

    Raises
    ------
    TrialError
        The file does not run.
    OtherNumbersError
        Its outputs are not those of the graph.
    """
    if not takes(graph, sample):
        return made
    index_of = {name: index for index, name in made.tensors.items() if index in made.unsure}
    ends = [tensor.index for tensor in made.file.outputs()]
    fed = as_fed(made.file, sample)
    values = tried(made.file.content(), fed, [*index_of.values(), *ends], False, graph.source)
    batch = as_batch(graph, sample)
    wanted = run_once(graph, batch, [*index_of, *graph.outputs])
    inner, results = wanted[: len(index_of)], wanted[len(index_of) :]
    found = [values[index] for index in ends]
    _refuse_other_shapes(graph, results, found)
    others = _unexplained(graph, batch, results, found)
    if others:
        raise _other_numbers(others, made, graph)
    if far_apart(results, found):
        LOG.warning(
            "%s: its outputs are others where its inputs change by a millionth, so those of the LiteRT file are not "
            "compared with them",
            graph.source,
        )
        inner = _piece_by_piece(made, graph, fed, batch, index_of)
    wrong = {
        name for (name, index), real in zip(index_of.items(), inner, strict=True) if not _is_same(values[index], real)
    }
    return replace(
        made,
        tensors={index: name for index, name in made.tensors.items() if name not in wrong},
        indices={name: index for name, index in made.indices.items() if name not in wrong},
    )


def sample_without_ties(
    made: FloatFile, graph: Graph, first: Mapping[int, np.ndarray], later: Iterable[Mapping[int, np.ndarray]]
) -> Mapping[int, np.ndarray] | None:
    """The first of further samples on which the file and the graph agree; None where the file is of other numbers.

    Where a graph ranks numbers, two that are nearly equal in one sample are swapped by rounding, and other boxes are
    chosen. A file that is wrong is so on more samples, and in what is not ranked.

    Parameters
    ----------
    made : FloatFile
        Of the graph.
    graph : Graph
        What was converted.
    first : Mapping[int, np.ndarray]
        Inputs by position, on which they do not agree.
    later : Iterable[Mapping[int, np.ndarray]]
        Further ones; no more than LATER are read.
    """
    ranking = [node.name for node in made.graph.nodes.values() if node.op in RANKING]
    ranked = nodes_reached(nd.readers(made.graph.nodes), ranking)
    tied, agreeing, count = 0, None, 0
    for sample in (first, *islice(later, LATER)) if ranking else ():
        apart = _apart(made, graph, sample)
        if any(nd.node_name(made.graph.outputs[at]) not in ranked for at in apart):
            return None
        if sample is not first:
            count, tied = count + 1, tied + bool(apart)
            agreeing = sample if agreeing is None and not apart else agreeing
    return agreeing if count >= FEWEST and tied <= TIED * count else None


def _apart(made: FloatFile, graph: Graph, sample: Mapping[int, np.ndarray]) -> set[int]:
    """Positions of the outputs that the file has otherwise than the graph, in numbers or in how many there are."""
    ends = [tensor.index for tensor in made.file.outputs()]
    values = tried(made.file.content(), as_fed(made.file, sample), ends, False, graph.source)
    batch = as_batch(graph, sample)
    results, found = run_once(graph, batch, graph.outputs), [values[index] for index in ends]
    shapes = enumerate(zip(results, found, strict=True))
    return {at for at, (one, other) in shapes if one.shape != other.shape} | set(
        _unexplained(graph, batch, results, found)
    )


def _refuse_other_shapes(graph: Graph, results: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
    """Raise OtherNumbersError where outputs of sizes that the data do not decide have others in the file."""
    for tensor, wanted, made in zip(graph.outputs, results, found, strict=True):
        shape = graph.shape(tensor)
        if shape is not None and None not in shape[1:] and wanted.shape[1:] != made.shape[1:]:
            message = (
                f"TensorFlow's converter makes a LiteRT file of it whose output has the shape {list(made.shape)} "
                f"instead of {list(wanted.shape)}"
            )
            place = readable(tensor)
            raise OtherNumbersError(Problem(message, file=graph.source, path=place, hint="export another format"))


def _piece_by_piece(
    made: FloatFile,
    graph: Graph,
    fed: Mapping[int, np.ndarray],
    batch: Mapping[str, np.ndarray],
    unsure: Collection[str],
) -> list[np.ndarray]:
    """The tensors that are known by name alone, computed from what the file has where its tensors are sure."""
    sure = {name: index for name, index in made.indices.items() if name not in unsure and name not in graph.inputs}
    values = tried(made.file.content(), fed, list(sure.values()), False, graph.source)
    given = {}
    for name, index in sure.items():
        shape = graph.shape(name)
        if shape is not None and fits(values[index].shape, shape):
            given[name] = values[index]
    pieces = replace(graph, inputs=(*graph.inputs, *given), input_keys=(*graph.input_keys, *given))
    return run_once(pieces, {**batch, **given}, list(unsure))


def _unexplained(
    graph: Graph, batch: Mapping[str, np.ndarray], results: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> dict[int, float]:
    """Position of an output → its SQNR in dB, where the file is farther from the graph than rounding explains.

    Rounding decides the outputs of deep networks without trained weights, and of those that round or compare within.
    Inputs and weights that change as little show how much; where that changes nothing, an output may be as far as FAR.
    """
    far = far_apart(results, found, NEAR)
    reached = dict.fromkeys(far, math.inf)
    for seed in range(MOVES) if far else ():
        random = np.random.default_rng(seed)
        moved = {key: _moved(values, random) for key, values in batch.items()}
        ratios = far_apart(results, run_once(_with_moved_weights(graph, random), moved), math.inf)
        reached = {at: min(ratio, ratios.get(at, math.inf)) for at, ratio in reached.items()}
    return {at: ratio for at, ratio in far.items() if ratio < _least(reached[at])}


def _least(reached: float) -> float:
    """dB of SQNR that a file has at least beside a graph which has so many beside itself when it is moved."""
    if reached == math.inf:
        return FAR
    return -math.inf if reached < FAR else reached - MARGIN


def _with_moved_weights(graph: Graph, random: np.random.Generator) -> Graph:
    edit = graph.edit()
    for name, node in graph.nodes.items():
        if node.op == "Const" and nd.attribute(node, "dtype") == dtypes.float32:
            moved = nd.constant_node(name, _moved(graph.require_constant(f"{name}:0"), random))
            moved.input.extend(node.input)
            edit.put(moved)
    return edit.finish()


def _moved(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Real numbers, each moved up or down; others as they are."""
    if values.dtype.kind != "f" or values.ndim == 0:
        return values
    with np.errstate(over="ignore"):
        moved = (values * (1 + MOVE * random.choice((-1, 1), values.shape))).astype(values.dtype)
    return np.where(np.isfinite(moved), moved, values)


def _other_numbers(far: Mapping[int, float], made: FloatFile, graph: Graph) -> OtherNumbersError:
    return OtherNumbersError(
        *(
            Problem(
                "TensorFlow's converter makes a LiteRT file of it that computes other numbers (relative difference "
                f"{10 ** (-ratio / 20):.2g})",
                file=graph.source,
                path=readable(graph.outputs[at]),
                hint=_otherwise(made, graph, graph.outputs[at]),
            )
            for at, ratio in far.items()
        )
    )


def _otherwise(made: FloatFile, graph: Graph, output: str) -> str:
    """What to do instead; where boxes are selected, the model may end in front of that."""
    before = ordered(made.graph.nodes, [output])
    cut = cut_hint(graph, [name for name in before if made.graph.nodes[name].op in SELECTING])
    return f"{cut}; or export another format" if cut else "export another format"


def _is_same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether both have the same numbers, in whatever order of axes; LiteRT's sums end at the largest float."""
    if first.size != second.size:
        return False
    if first.dtype != np.float32:
        return True
    first, second = (values[np.abs(values) < np.finfo(np.float32).max].astype(float) for values in (first, second))
    if first.size != second.size or not first.size:
        return first.size == second.size
    size = float(np.abs(second).max())
    one, other = ((values.min(), values.max(), values.std()) for values in (first, second))
    return bool(np.allclose(one, other, rtol=0, atol=CLOSE * size))
