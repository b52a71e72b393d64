"""What lies inside loops, branches and functions, where no tensor can be fetched and nothing may be inserted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef

ENTERS = frozenset({"Enter", "RefEnter"})
EXITS = frozenset({"Exit", "RefExit"})
# TensorFlow 1.x writes control flow as nodes: what begins a region, and what leads out of it.
REGIONS = {
    "a loop": (ENTERS, EXITS),
    "a branch": (frozenset({"Switch", "RefSwitch", "_SwitchN"}), frozenset({"Merge", "RefMerge"}) | EXITS),
}

LOOP_EDGES = frozenset({"NextIteration", "RefNextIteration"})
"""What leads from the end of a loop back to its beginning."""


def control_flow_regions(nodes: Mapping[str, NodeDef]) -> dict[str, str]:
    """Name of each node that runs several times or perhaps not at all → ``a loop`` or ``a branch``."""
    if not any(node.op in begin for node in nodes.values() for begin, _ in REGIONS.values()):
        return {}
    followers = nd.followers(nodes)
    regions: dict[str, str] = {}
    for region, (begin, end) in REGIONS.items():
        seen: set[str] = set()
        waiting = [name for name, node in nodes.items() if node.op in begin]
        while waiting:
            for reader in followers.get(waiting.pop(), ()):
                if reader not in seen and nodes[reader].op not in end:
                    seen.add(reader)
                    waiting.append(reader)
        for name in seen:
            regions.setdefault(name, region)
    return regions


def in_loops(nodes: Mapping[str, NodeDef]) -> set[str]:
    """Names of the nodes whose results are inside a loop of TensorFlow 1.x."""
    enters = {name for name, node in nodes.items() if node.op in ENTERS}
    return enters | {name for name, region in control_flow_regions(nodes).items() if region == "a loop"}


def called_functions(nodes: Iterable[NodeDef], library: FunctionDefLibrary) -> tuple[dict[str, FunctionDef], list[str]]:
    """The functions that nodes need, directly or through others, in library order; and the names that are missing."""
    known = {function.signature.name: function for function in library.function}
    seen: set[str] = set()
    waiting = [name for node in nodes for name in _calls(node, known)]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in known:
            waiting.extend(other for node in known[name].node_def for other in _calls(node, known))
    return {name: function for name, function in known.items() if name in seen}, sorted(seen - known.keys())


def called_by_function(library: FunctionDefLibrary) -> dict[str, list[str]]:
    """Function of the library → the others that its nodes call."""
    known = {function.signature.name: function for function in library.function}
    return {
        name: [called for node in function.node_def for called in _calls(node, known) if called in known]
        for name, function in known.items()
    }


def _calls(node: NodeDef, known: Mapping[str, FunctionDef]) -> Iterator[str]:
    if node.op in known:
        yield node.op
    for key in sorted(node.attr):  # a map of protobuf has another order in every process
        value = node.attr[key]
        kind = value.WhichOneof("value")
        if kind == "func":
            yield value.func.name
        elif kind == "list":
            yield from (function.name for function in value.list.func)


def calls_of(node: NodeDef, known: Mapping[str, FunctionDef]) -> list[tuple[str, int]]:
    """The functions that a node calls, each with the index of the input that is its first argument."""
    first = 1 if node.op in ("If", "StatelessIf", "Case", "StatelessCase") else 0
    return [(name, first) for name in dict.fromkeys(_calls(node, known)) if name in known]


LOOPS = frozenset({"While", "StatelessWhile"})
"""Loops whose condition and body are functions."""
PLACES = {"While": "a loop", "StatelessWhile": "a loop", "If": "a branch", "StatelessIf": "a branch"}
PLACES |= {"Case": "a branch", "StatelessCase": "a branch"}


@dataclass(frozen=True, eq=False)
class Enclosed:
    """A node of a function.

    Parameters
    ----------
    caller : NodeDef
        The node of the graph that the call begins with.
    place : str
        ``a loop``, ``a branch`` or ``a function``; the outermost.
    node : NodeDef
        As it is in the function.
    name : str
        What messages call it.
    """

    caller: NodeDef
    place: str
    node: NodeDef
    name: str


def nodes_in_functions(
    nodes: Iterable[NodeDef], library: FunctionDefLibrary, needed: bool = False
) -> Iterator[Enclosed]:
    """Every node of every function that nodes call, directly or through others.

    Parameters
    ----------
    needed : bool
        Only nodes that results of the functions depend on.
    """
    known = {function.signature.name: function for function in library.function}
    for caller in nodes if known else ():
        place = PLACES.get(caller.op, "a function")
        names = names_in_functions(caller, known)
        for function in reached(caller, known, needed):
            for node in _nodes(function, needed):
                yield Enclosed(caller, place, node, names[function.signature.name, node.name])


def reached(caller: NodeDef, known: Mapping[str, FunctionDef], needed: bool = False) -> list[FunctionDef]:
    """The functions that a node calls, directly or through others; or only through nodes that results depend on."""
    waiting, found = list(_calls(caller, known)), {}
    while waiting:
        name = waiting.pop(0)
        if name in known and name not in found:
            found[name] = known[name]
            waiting.extend(called for node in _nodes(known[name], needed) for called in _calls(node, known))
    return list(found.values())


def names_in_functions(caller: NodeDef, known: Mapping[str, FunctionDef]) -> dict[tuple[str, str], str]:
    """Function and node in it → what the node is called; many have the name of the node that calls in front already.

    Branches often have nodes of the same names: a number follows those that come later.
    """
    names: dict[tuple[str, str], str] = {}
    taken: dict[str, int] = {}
    for function in reached(caller, known):
        for node in function.node_def:
            name = node.name if node.name.startswith(f"{caller.name}/") else f"{caller.name}/{node.name}"
            unique = name
            while unique in taken:
                taken[name] += 1
                unique = f"{name}_{taken[name]}"
            taken[unique] = 0
            names[function.signature.name, node.name] = unique
    return names


def _nodes(function: FunctionDef, needed: bool) -> Iterable[NodeDef]:
    if not needed:
        return function.node_def
    kept = _needed(function)
    return [node for node in function.node_def if node.name in kept]


def _needed(function: FunctionDef) -> set[str]:
    """Names of the nodes that the results of a function are made of."""
    inputs = {node.name: [reference.split(":")[0] for reference in node.input] for node in function.node_def}
    waiting, found = [reference.split(":")[0] for reference in function.ret.values()], set()
    while waiting:
        name = waiting.pop()
        if name not in found and name in inputs:
            found.add(name)
            waiting += [other for other in inputs[name] if not other.startswith("^")]
    return found


def needed_library(nodes: Iterable[NodeDef], library: FunctionDefLibrary) -> FunctionDefLibrary:
    """The part of a function library that nodes need."""
    if not library.function:
        return library
    called, _ = called_functions(nodes, library)
    if len(called) == len(library.function):
        return library
    result = FunctionDefLibrary()
    result.function.extend(called.values())
    result.gradient.extend(entry for entry in library.gradient if entry.function_name in called)
    return result
