"""Tables whose rows are looked up inside loops, branches and functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import calls_of, names_in_functions
from calibrant.graph.graph import Graph
from calibrant.graph.other_products import TABLES, is_table
from calibrant.graph.tf_core import FunctionDef, NodeDef


def lookups_in_functions(graph: Graph) -> set[str]:
    """The names, as messages have them, of nodes in functions that look up rows of a constant of the graph."""
    known = {function.signature.name: function for function in graph.library.function}
    found = set()
    for caller in graph.nodes.values() if known else ():
        if calls_of(caller, known):
            inputs = enumerate(nd.data_inputs(caller))
            handed = [place for place, tensor in inputs if is_table(graph.constant(tensor))]
            lookups = list(_lookups(caller, handed, known)) if handed else []
            names = names_in_functions(caller, known) if lookups else {}
            found |= {names[lookup] for lookup in lookups}
    return found


def _lookups(caller: NodeDef, handed: Collection[int], known: Mapping[str, FunctionDef]) -> Iterator[tuple[str, str]]:
    """(function, node) of each lookup in the inputs of a call at these places."""
    for name, first in calls_of(caller, known):
        function = known[name]
        tables = {function.signature.input_arg[place - first].name for place in handed if place >= first}
        for node in function.node_def:
            places = [place for place, reference in enumerate(node.input) if reference.partition(":")[0] in tables]
            if places and node.op == "Identity":
                tables.add(node.name)
            elif node.op in TABLES and 0 in places:
                yield name, node.name
            elif places and calls_of(node, known):
                yield from _lookups(node, places, known)
