"""Step: the error that each quantized layer alone causes at the network's outputs.

One layer is exchanged at a time: the quantized one in the float network, and the float one in the quantized network.
Everything before a layer is the same with and without the exchange, so it runs once per batch. After it only the nodes
that its output reaches run again, fed with the exchanged output and with the other tensors of the first run. For a
chain that is half a pass per layer instead of a whole one, and no part of the graph exists twice.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import numpy as np

from calibrant.algorithms.finite_pair import finite_pair
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.data.batches import Batches
from calibrant.emit.fakequant import fake_quantized_unnamed
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.graph.running.partial_runs import PartialRuns, nodes_reached
from calibrant.progress import LOG, ProgressFn
from calibrant.quantized_network import QuantizedNetwork, Sensitivity
from calibrant.steps.refining.output_errors import check_same_sizes

ENOUGH_SAMPLES = 256
BLOCK = 8192
"""Numbers whose product is not divided among threads."""


def sensitivities(network: QuantizedNetwork, batches: Batches, track: ProgressFn) -> tuple[Sensitivity, ...]:
    """Every quantized layer, the most harmful first; none where only weights inside loops and branches are quantized.

    Uses the first batches, up to ENOUGH_SAMPLES samples, and every second one of them for the network without a layer.
    """
    if not network.layers:
        return ()
    with LayerExchanges(network) as exchanges:
        return exchanges.measure(batches, track)


class LayerExchanges:
    """Two sessions, of the float network with each quantized layer beside its own, and the other way round."""

    def __init__(self, network: QuantizedNetwork):
        floating, quantized = network.graph, fake_quantized_unnamed(network)
        outputs = compared_tensors(floating)
        starts = {layer.layer.name: {entry.tensor for entry in layer.inputs} for layer in network.layers}
        self._outputs = len(outputs)
        self._layers = [layer.layer for layer in network.layers]
        self._ends = {layer.name: f"{layer.end}:0" for layer in self._layers}
        self._only = PartialRuns(*with_exchanges(floating, quantized, starts, self._ends), outputs)
        self._without = PartialRuns(*with_exchanges(quantized, floating, starts, self._ends), outputs)

    def measure(self, batches: Batches, track: ProgressFn) -> tuple[Sensitivity, ...]:
        """See :func:`sensitivities`."""
        noise = {name: (_OutputNoise(self._outputs), _OutputNoise(self._outputs)) for name in self._ends}
        samples = 0
        passes = self._only.passes + self._without.passes / 2
        LOG.info(
            "sensitivity: %d layers, each with what is downstream of it: about %.0f passes over at most %d samples",
            *(len(self._ends), passes, ENOUGH_SAMPLES),
        )
        for index, batch in enumerate(track(batches, "sensitivity", batches.count)):
            if samples >= ENOUGH_SAMPLES:
                break
            samples += batches.samples_in(batch)
            reference = self._only.start(batch)
            for name, end in self._ends.items():
                noise[name][0].update(reference, self._only.exchanged(end))
            if index % 2 == 0:
                self._without.start(batch)
                for name, end in self._ends.items():
                    noise[name][1].update(reference, self._without.exchanged(end))
        entries = [
            Sensitivity(
                layer.name, layer.type, only.signal_to_noise_db, only.cosine, without.signal_to_noise_db, without.cosine
            )
            for layer in self._layers
            for only, without in [noise[layer.name]]
        ]
        return tuple(sorted(entries, key=lambda entry: (entry.only_db, -entry.without_db, entry.layer)))

    def close(self) -> None:
        """Free the sessions."""
        self._only.close()
        self._without.close()

    def __enter__(self) -> LayerExchanges:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _OutputNoise:
    """Signal and noise of several outputs; the worst output counts."""

    def __init__(self, outputs: int):
        self._sums = np.zeros((outputs, 4))

    def update(self, reference: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        for sums, first, second in zip(self._sums, reference, outputs, strict=True):
            check_same_sizes(first, second)
            a, b = (array.ravel() for array in finite_pair(first, second))
            error = a - b
            sums += (_product(a, a), _product(b, b), _product(a, b), _product(error, error))

    @property
    def signal_to_noise_db(self) -> float:
        return min(sqnr_db(signal, noise) for signal, _, _, noise in self._sums)

    @property
    def cosine(self) -> float:
        return min(
            product / math.sqrt(signal * energy) if signal * energy > 0 else float(signal == energy)
            for signal, energy, product, _ in self._sums
        )


def _product(first: np.ndarray, second: np.ndarray) -> float:
    """The inner product, in blocks: BLAS divides long ones among threads, which wait for those of TensorFlow."""
    starts = range(0, first.size, BLOCK)
    return float(sum(first[start : start + BLOCK] @ second[start : start + BLOCK] for start in starts))


def with_exchanges(
    base: Graph, other: Graph, starts: Mapping[str, set[str]], ends: Mapping[str, str]
) -> tuple[Graph, dict[str, str]]:
    """Add the other graph's layers to the base graph; they read the same tensors, and no node reads them.

    Returns
    -------
    tuple[Graph, dict[str, str]]
        The graph, and the end of each layer → the tensor that replaces it.
    """
    edit = base.edit()
    places = {}
    for name, end in ends.items():
        own = _own_nodes(other, base, starts[name], end)
        added = {current: edit.free_name(f"exchanged/{name}/{current}") for current in own}
        for current, copied in added.items():
            references = [
                _moved(tensor, added) if tensor not in starts[name] and nd.node_name(tensor) in added else tensor
                for tensor in nd.data_inputs(other.nodes[current])
            ]
            edit.put(nd.copy_node(other.nodes[current], references, copied))
        places[end] = _moved(end, added)
    kept = edit.finish(outputs=(*base.outputs, *places.values()))
    return kept, places


def _own_nodes(graph: Graph, base: Graph, starts: Container[str], end: str) -> list[str]:
    """The nodes from a layer's starts to its end, and its constants.

    What depends on the network's inputs but not on the starts, such as the shape that a transposed convolution makes,
    is the same in both graphs.
    """
    readers: dict[str, list[str]] = {nd.node_name(end): []}
    after_starts, waiting = [], list(readers)
    while waiting:
        current = waiting.pop()
        for tensor in nd.data_inputs(graph.nodes[current]):
            name = nd.node_name(tensor)
            if tensor in starts:
                after_starts.append(current)
                continue
            if name not in readers:
                readers[name] = []
                waiting.append(name)
            readers[name].append(current)
    fed = nodes_reached(readers, graph.input_nodes & readers.keys())
    own = nodes_reached(readers, after_starts)
    return [name for name in readers if name in own or name not in fed or name not in base.nodes]


def _moved(tensor: str, names: Mapping[str, str]) -> str:
    node, index = nd.split_tensor(tensor)
    return f"{names[node]}:{index}"
