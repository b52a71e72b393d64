"""Running a graph again from some tensor on, in legs that the runs from many tensors share.

TensorFlow prepares every pair of fed and fetched tensors on its own, which takes longer than a run of small operations,
and keeps what it prepared. Prepared as a whole, the runs from each tensor of a chain to its end would take time and
memory in proportion to the square of its length. So the nodes are cut into stages, each with a session of its own, and
a run goes from stage to stage: of each, it runs the nodes that what has changed so far reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.running.session import close_session, open_session, unoptimized
from calibrant.graph.tf_core import NodeDef, dtypes, op_def_registry

STAGE = 256  # nodes


@dataclass(frozen=True, eq=False)
class Leg:
    """The part of runs that lies in one stage.

    Parameters
    ----------
    stage : int
        Its number.
    nodes : Mapping[str, None]
        The nodes that run, in order.
    changed : tuple[str, ...]
        Tensors from before that run into it.
    around : tuple[str, ...]
        What the nodes read beside them.
    results : tuple[str, ...]
        What later stages read, and outputs.
    """

    stage: int
    nodes: Mapping[str, None]
    changed: tuple[str, ...]
    around: tuple[str, ...]
    results: tuple[str, ...]


class Relay:
    """Runs of a graph from each of some tensors to the outputs.

    Parameters
    ----------
    graph : Graph
        The model, which :func:`can_be_cut`.
    moving : Iterable[str]
        The nodes that depend on its inputs.
    tensors : Iterable[str]
        Where runs begin.
    outputs : Sequence[str]
        Where they end.
    """

    def __init__(self, graph: Graph, moving: Iterable[str], tensors: Iterable[str], outputs: Sequence[str]):
        self._graph = graph
        self._outputs = frozenset(outputs)
        among = frozenset(moving)
        names = [name for name in ordered(graph.nodes, outputs) if name in among]
        self._stages = [names[start : start + STAGE] for start in range(0, len(names), STAGE)]
        self._stage_of = {name: number for number, stage in enumerate(self._stages) for name in stage}
        self._reads = {name: nd.data_inputs(graph.nodes[name]) for name in names}
        self._read_in: dict[str, list[int]] = {tensor: [] for tensor in outputs}
        for name, stage in self._stage_of.items():
            for tensor in self._reads[name]:
                read_in = self._read_in.setdefault(tensor, [])
                if read_in[-1:] != [stage]:
                    read_in.append(stage)
        self._made: dict[str, list[str]] = {}
        for tensor in self._read_in:
            self._made.setdefault(nd.node_name(tensor), []).append(tensor)
        self._legs: dict[tuple[int, tuple[str, ...]], Leg] = {}
        self._routes = {tensor: self._route(tensor) for tensor in tensors}
        self._names: dict[int, dict[str, str]] = {}
        self._sessions: dict[int, Any] = {}
        self._calls: dict[Leg, Callable[..., list[np.ndarray]]] = {}

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Of all runs, each once."""
        return tuple(self._legs.values())

    @property
    def around(self) -> dict[str, None]:
        """The tensors whose values the runs read beside what has changed."""
        return dict.fromkeys(tensor for leg in self.legs for tensor in leg.around)

    @property
    def passes(self) -> float:
        """How many runs of the whole graph one run from each tensor is, counted in nodes."""
        again = sum(len(leg.nodes) for route in self._routes.values() for leg in route)
        return again / max(len(self._stage_of), 1)

    def run(self, tensor: str, value: np.ndarray, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What changes with a tensor, the outputs among it.

        Parameters
        ----------
        tensor : str
            The tensor, and its new value.
        value : np.ndarray
            The tensor, and its new value.
        values : Mapping[str, np.ndarray]
            Those of :attr:`around`.
        """
        changed = {tensor: value}
        for leg in self._routes[tensor]:
            feeds = (*(changed[each] for each in leg.changed), *(values[each] for each in leg.around))
            changed.update(zip(leg.results, self._call(leg)(*feeds), strict=True))
        return changed

    def _route(self, tensor: str) -> list[Leg]:
        route: list[Leg] = []
        changed, stage = [tensor], -1
        while True:
            read = {each: [later for later in self._read_in.get(each, ()) if later > stage] for each in changed}
            changed = [each for each in changed if read[each]]
            if not changed:
                return route
            stage = min(read[each][0] for each in changed)
            leg = self._leg(stage, tuple(each for each in changed if read[each][0] == stage))
            route.append(leg)
            changed += leg.results

    def _leg(self, stage: int, changed: tuple[str, ...]) -> Leg:
        if (stage, changed) not in self._legs:
            nodes: dict[str, None] = {}
            around: dict[str, None] = {}
            for name in self._stages[stage]:
                read = self._reads[name]
                if any(tensor in changed or nd.node_name(tensor) in nodes for tensor in read):
                    nodes[name] = None
                    around.update(dict.fromkeys(read))
            beside = (each for each in around if each not in changed and nd.node_name(each) not in nodes)
            results = (each for name in nodes for each in self._made.get(name, ()))
            self._legs[stage, changed] = Leg(
                stage,
                nodes,
                changed,
                tuple(each for each in beside if nd.node_name(each) in self._stage_of),
                tuple(each for each in results if self._read_in[each][-1:] > [stage] or each in self._outputs),
            )
        return self._legs[stage, changed]

    def _call(self, leg: Leg) -> Callable[..., list[np.ndarray]]:
        if leg not in self._calls:
            if leg.stage not in self._sessions:
                self._open(leg.stage)
            names = self._names[leg.stage]
            feeds = [names.get(tensor, tensor) for tensor in (*leg.changed, *leg.around)]
            self._calls[leg] = self._sessions[leg.stage].make_callable(list(leg.results), feed_list=feeds)
        return self._calls[leg]

    def _open(self, stage: int) -> None:
        """A session of the nodes of one stage, which reads placeholders for what others make."""
        fed = self._names[stage] = dict[str, str]()
        nodes: dict[str, NodeDef] = {}
        for name in self._stages[stage]:
            node = self._graph.nodes[name]
            read = list(self._reads[name])
            for place, tensor in enumerate(read):
                origin = self._stage_of.get(nd.node_name(tensor))
                if origin is None:
                    nodes.update(ordered(self._graph.nodes, [tensor]))
                elif origin != stage:
                    fed.setdefault(tensor, f"{self._free_name(len(fed))}:0")
                    read[place] = fed[tensor]
            nodes[name] = nd.copy_node(node, read)
        for tensor, placeholder in fed.items():
            name = nd.node_name(placeholder)
            nodes[name] = nd.make_node("Placeholder", name, [], dtype=self._graph.dtype(tensor))
        part = Graph(nodes, (), (), library=self._graph.library, versions=self._graph.versions)
        self._sessions[stage] = open_session(part, unoptimized())

    def _free_name(self, number: int) -> str:
        name = f"fed_{number}"
        while name in self._graph.nodes:
            name = f"more_{name}"
        return name

    def close(self) -> None:
        """Free the sessions."""
        for session in self._sessions.values():
            close_session(session)


def can_be_cut(graph: Graph, outputs: Sequence[str]) -> bool:
    """Whether every node of a graph can run without those before it, with what it reads from them fed."""
    return not graph.regions and all(
        _can_be_cut(graph, node) for node in ordered(graph.nodes, outputs).values() if node.op != "Const"
    )


def _can_be_cut(graph: Graph, node: NodeDef) -> bool:
    operation = op_def_registry.get(node.op)
    return (
        operation is not None
        and not operation.is_stateful
        and not nd.control_inputs(node)
        and not any(value.WhichOneof("value") == "func" for value in node.attr.values())
        and not any(graph.dtype(each) in (dtypes.variant, dtypes.resource) for each in nd.data_inputs(node))
    )
