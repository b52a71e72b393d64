"""Running a graph again from some tensor on, with everything else as it was."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import REGIONS
from calibrant.graph.graph import Graph
from calibrant.graph.running.relay import Relay, can_be_cut
from calibrant.graph.running.run import OTHER_NUMBERS, reason_of
from calibrant.graph.running.session import close_session, open_session, unoptimized
from calibrant.graph.tensorflow import tensorflow


class PartialRuns:
    """One run of a graph per batch, and short ones with one tensor exchanged, of the nodes that it reaches only.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``; holds the tensors that are exchanged and those that take their places.
    places : Mapping[str, str]
        Tensor → the tensor that takes its place.
    outputs : Sequence[str]
        Tensors to return.
    """

    def __init__(self, graph: Graph, places: Mapping[str, str], outputs: Sequence[str]):
        self._graph = graph
        self._places = dict(places)
        self._outputs = tuple(outputs)
        readers = nd.readers(graph.nodes)
        moving = nodes_reached(readers, graph.input_nodes)
        self._relay = Relay(graph, moving, places, outputs) if can_be_cut(graph, outputs) else None
        self._moving = len(moving)
        self._reached: dict[str, dict[str, None]] = {}
        self._border: dict[str, tuple[str, ...]] = {}
        if self._relay is None:
            self._reached = {tensor: nodes_reached(readers, readers.get(nd.node_name(tensor), ())) for tensor in places}
            self._border = {tensor: self._fed_beside(tensor, moving) for tensor in places}
        self._session = open_session(graph, unoptimized())
        wanted = (
            *self._outputs,
            *self._places.values(),
            *(self._relay.around if self._relay else ()),
            *(read for border in self._border.values() for read in border),
        )
        self._fetched = tuple(name for name in dict.fromkeys(wanted) if name not in graph.inputs)
        self._start = self._session.make_callable(list(self._fetched), feed_list=list(graph.inputs))
        self._calls: dict[str, Callable[..., list[np.ndarray]]] = {}
        self._values: dict[str, np.ndarray] = {}

    @property
    def passes(self) -> float:
        """How many runs of the whole graph a start and one run from each tensor are, counted in nodes."""
        if self._relay is not None:
            return 1 + self._relay.passes
        return 1 + sum(map(len, self._reached.values())) / max(self._moving, 1)

    def _fed_beside(self, tensor: str, moving: Container[str]) -> tuple[str, ...]:
        """What is fed where a run begins at a tensor.

        Loops wait for the inputs through control dependencies too, so these are always fed.
        """
        inputs = (name for name in self._graph.inputs if name != tensor)
        return tuple(dict.fromkeys((*self._read_around(tensor, moving), *inputs)))

    def _read_around(self, tensor: str, moving: Container[str]) -> tuple[str, ...]:
        """What the nodes that a tensor reaches read beside it, constants left out; all of it can be fed.

        What cannot be fetched, as lists of tensors and what is inside a loop, is computed again from what it reads.
        """
        computed = dict(self._reached[tensor])
        around: dict[str, None] = {}
        waiting = list(computed)
        while waiting:
            for read in nd.data_inputs(self._graph.nodes[waiting.pop(0)]):
                name = nd.node_name(read)
                if name in computed or read == tensor or name not in moving:
                    continue
                if self._can_be_fetched(read):
                    around[read] = None
                else:
                    computed[name] = None
                    waiting.append(name)
        return tuple(around)

    def _can_be_fetched(self, tensor: str) -> bool:
        tf = tensorflow()
        name = nd.node_name(tensor)
        begins_region = any(self._graph.nodes[name].op in begin for begin, _ in REGIONS.values())
        in_region = begins_region or name in self._graph.regions
        return not in_region and self._graph.dtype(tensor) not in (tf.variant, tf.resource)

    def start(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run a batch, by input key; the outputs without any exchange.

        Raises
        ------
        ModelError
            TensorFlow could not run the batch.
        """
        feeds = [batch[key] for key in self._graph.input_keys]
        try:
            found = self._start(*feeds)
        except tensorflow().errors.OpError as error:
            samples = max((len(array) for array in feeds if np.ndim(array)), default=1)
            message = f"running {samples} samples at once failed: {reason_of(error)}"
            raise ModelError(Problem(message, file=self._graph.source, hint=OTHER_NUMBERS)) from None
        self._values = dict(zip(self._fetched, found, strict=True))
        self._values.update(zip(self._graph.inputs, feeds, strict=True))
        return [self._values[output] for output in self._outputs]

    @property
    def started(self) -> Mapping[str, np.ndarray]:
        """The values of the batch that was started, to be resumed."""
        return self._values

    def resume(self, started: Mapping[str, np.ndarray]) -> None:
        """Go on with a batch that was started before."""
        self._values = dict(started)

    def value(self, tensor: str) -> np.ndarray:
        """What an input, an output, or the tensor that takes another's place is for the batch that was started."""
        return self._values[tensor]

    def exchanged(self, tensor: str, values: np.ndarray | None = None) -> list[np.ndarray]:
        """The outputs for the batch that was started, with one tensor exchanged, for ``values`` if there are any."""
        changed = self._values[self._places[tensor]] if values is None else values
        if self._relay is not None:
            computed = self._relay.run(tensor, changed, self._values)
        else:
            computed = {tensor: changed, **self._run_from(tensor, changed)}
        return [computed.get(name, self._values[name]) for name in self._outputs]

    def _run_from(self, tensor: str, changed: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs that a tensor reaches, in one run."""
        again = [name for name in self._outputs if nd.node_name(name) in self._reached[tensor]]
        if not again:
            return {}
        if tensor not in self._calls:
            feeds = [tensor, *self._border[tensor]]
            self._calls[tensor] = self._session.make_callable(again, feed_list=feeds)
        border = [self._values[read] for read in self._border[tensor]]
        return dict(zip(again, self._calls[tensor](changed, *border), strict=True))

    def close(self) -> None:
        """Free the sessions."""
        close_session(self._session)
        if self._relay is not None:
            self._relay.close()

    def __enter__(self) -> PartialRuns:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def nodes_reached(readers: Mapping[str, Sequence[str]], names: Iterable[str]) -> dict[str, None]:
    """The nodes and all that depends on them, in a fixed order.

    Parameters
    ----------
    readers : Mapping[str, Sequence[str]]
        Name of a node → the nodes that read it.
    names : Iterable[str]
        Names of nodes.
    """
    reached = dict.fromkeys(names)
    stack = list(reached)
    while stack:
        for reader in readers.get(stack.pop(), ()):
            if reader not in reached:
                reached[reader] = None
                stack.append(reader)
    return reached
